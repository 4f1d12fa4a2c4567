"""Which images a phase draws: class sizes that resampling aims at, and batches dealt accordingly."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.encoded import Rows
from training.errors import DataError

Kind = Literal["natural", "oversample", "undersample", "mixture"]


@dataclass(frozen=True)
class Sampling:
    """The class sizes of the data set that a phase draws from.

    `ratio` is the size of the smallest class relative to the largest that resampling aims at, 1 for full balance:
    `oversample` raises rare classes, `undersample` cuts frequent ones, `mixture` does both, meeting at the geometric
    mean of the smallest and the largest class. Classes within the ratio already keep their size. `every_batch` deals
    the classes batch by batch, so that with full balance every batch that has room for it holds every class.
    """

    kind: Kind
    ratio: float = 1.0
    every_batch: bool = False

    def sizes(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Class sizes `(K,)` after resampling data with these class counts `(K,)`."""
        smallest, largest = counts[counts > 0].min(), counts.max()
        middle = math.sqrt(smallest * largest)
        low, high = {
            "natural": (smallest, largest),
            "oversample": (self.ratio * largest, largest),
            "undersample": (smallest, smallest / self.ratio),
            "mixture": (middle * math.sqrt(self.ratio), middle / math.sqrt(self.ratio)),
        }[self.kind]
        return np.where(counts > 0, np.clip(counts, low, high), 0.0).astype(np.float64)

    def mix(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share `(K,)` of each class among the images drawn."""
        sizes = self.sizes(counts)
        return np.asarray(sizes / sizes.sum())


NATURAL = Sampling("natural")


class Sampler:
    """Endless epochs of batches of indices into the training labels, each epoch `size` images: as many as there are.

    Equal lengths give every sampling the same number of iterations (as Buda et al. 2018). Each class is dealt from its
    own shuffled stream, so that an image comes again only when all of its class have come; a class that is cut is cut
    to one fixed draw. Laws: a class gets its share of an epoch (of a batch, with `every_batch`) to within one image,
    and exactly in expectation; the batches of an epoch differ in size by at most one image and none exceeds
    `batch_size`. All is a function of the generator's seed: a resumed run replays the epochs that it has seen.
    DataError where every batch shall hold each class, and `batch_size` has no room for them.
    """

    def __init__(
        self, sampling: Sampling, labels: NDArray[np.int64], batch_size: int, rng: np.random.Generator,
        size: int | None = None,
    ) -> None:  # fmt: skip
        counts = np.bincount(labels)
        self._rng, self._n = rng, len(labels) if size is None else size
        self._steps = math.ceil(self._n / batch_size)
        self._every_batch = sampling.every_batch
        if sampling.every_batch and (n_classes := np.count_nonzero(counts)) > batch_size:
            raise DataError(
                f"expected batches with room for each of {n_classes:,} classes, got batches of {batch_size:,} images: "
                "raise --batch-size, or take oversample, which balances over an epoch"
            )
        if sampling.kind == "natural":
            self._shares, pools = np.ones(1), [np.arange(len(labels))]
        else:
            present = np.flatnonzero(counts)
            sizes = sampling.sizes(counts)
            self._shares = sizes[present] / sizes.sum()
            pools = [self._cut(np.flatnonzero(labels == k), math.ceil(sizes[k] - 1e-9)) for k in present]
        self._streams = [_Stream(pool, rng) for pool in pools]

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self._steps

    def epoch(self) -> list[Rows]:
        """The batches of one epoch, shuffled."""
        if self._every_batch:
            return [self._draw(len(part)) for part in np.array_split(np.arange(self._n), self._steps)]
        return list(np.array_split(self._draw(self._n), self._steps))

    def _draw(self, n: int) -> Rows:
        """n images, each class its share by systematic rounding: floor(x + u) for one u in [0, 1)."""
        edges = np.floor(n * np.cumsum(self._shares)[:-1] + self._rng.random()).astype(np.int64)
        quotas = np.diff(edges, prepend=0, append=n)
        drawn = [stream.take(quota) for stream, quota in zip(self._streams, quotas.tolist(), strict=True)]
        return self._rng.permutation(np.concatenate(drawn))

    def _cut(self, rows: Rows, size: int) -> Rows:
        return rows if size >= len(rows) else self._rng.permutation(rows)[:size]


class _Stream:
    """The same rows over and over, in a new order each time."""

    def __init__(self, rows: Rows, rng: np.random.Generator) -> None:
        self._rows, self._rng = rows, rng
        self._waiting = rng.permutation(rows)

    def take(self, n: int) -> Rows:
        parts = [self._waiting[:n]]
        self._waiting, missing = self._waiting[n:], n - len(parts[0])
        for again in self._again(missing):
            parts.append(again[:missing])
            self._waiting, missing = again[missing:], missing - len(parts[-1])
        return np.concatenate(parts)

    def _again(self, missing: int) -> Iterator[Rows]:
        for _ in range(math.ceil(missing / len(self._rows))):
            yield self._rng.permutation(self._rows)
