"""The same picture twice: across splits it flatters every metric, and of two labels one is wrong."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset
from training.files import Rows, batched, in_chunks
from training.pairs import EXAMPLES, KINDS, Kind, Mask, Origin, Pair, Pairs, leaking
from training.progress import tracked
from training.thumbnails import n_pixels, thumbnails

ALIKE = 0.98
QUERIES, REFERENCES = 20_000, 100_000  # thumbnails take 4 kB at most, so 0.5 GB together
BATCH_BYTES = 2**24
TILE = 2048


@dataclass(frozen=True)
class Duplicates:
    """Byte-equal pairs, and near ones: not equal, but with a correlation of at least `ALIKE`.

    Near ones were looked for among `references` of the `images`, one of a pair being of `queries` images: a seeded
    sample where that is not all. `flat` images have one grey value all over and are no one's near duplicate.
    """

    exact: Pairs
    near: Pairs
    flat: int
    images: int
    queries: int
    references: int

    @property
    def sampled(self) -> bool:
        """Whether there may be more near duplicates than these."""
        return self.queries < self.images


def find_duplicates(
    dataset: Dataset, seed: int, *, workers: int = 0, queries: int = QUERIES, references: int = REFERENCES
) -> Duplicates:
    """Duplicates among all images, in bounded memory: a batch of images, and thumbnails of at most `references`.

    Exact: equal pixels as the network would get them, by a 128-bit hash. Near: Pearson correlation of grey thumbnails
    of at most 32×32; an image turned, mirrored or cropped is not found. Up to `queries` images, those of held-out
    parts first, are compared with up to `references`.
    """
    asked, compared = _chosen(dataset, np.random.default_rng([seed, 7]), queries, references)
    copies, flat, small = _read(dataset, compared, workers)
    origin = Origin.of(dataset)
    near = _near(origin, copies, small, asked, compared)
    return Duplicates(_exact(origin, copies), near, int(flat.sum()), len(copies), len(asked), len(compared))


def _chosen(dataset: Dataset, rng: np.random.Generator, queries: int, references: int) -> tuple[Rows, Rows]:
    """Rows to ask for, and the rows to compare them with, which hold the former; both ascending."""
    order = rng.permutation(len(dataset.labels))
    order = order[np.argsort(dataset.parts[order] == "train", kind="stable")]
    asked, others = order[:queries], rng.permutation(order[queries:])
    return np.sort(asked), np.sort(np.concatenate([asked, others[: max(0, references - len(asked))]]))


def _read(dataset: Dataset, compared: Rows, workers: int) -> tuple[Rows, Mask, NDArray[np.float32]]:
    """One pass over all images: a number that copies share `(N,)`, which are flat `(N,)`, thumbnails of `compared`."""
    n, chunks = len(dataset.labels), _chunks(dataset)
    known: dict[bytes, int] = {}
    copies, flat = np.empty(n, dtype=np.int64), np.empty(n, dtype=bool)
    small = np.empty((len(compared), n_pixels(dataset.images.shape)), dtype=np.float32)
    batches = zip(chunks, batched(dataset.images, chunks, workers=workers), strict=True)
    for rows, images in tracked(batches, "reading", total=len(chunks)):
        digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
        copies[rows] = [known.setdefault(digest, len(known)) for digest in digests]
        vectors, flat[rows] = thumbnails(images)
        begin, end = np.searchsorted(compared, [rows[0], rows[-1] + 1])
        small[begin:end] = vectors[compared[begin:end] - rows[0]]
    return copies, flat, small


def _chunks(dataset: Dataset) -> list[Rows]:
    each = int(np.clip(BATCH_BYTES // np.prod(dataset.images.shape[1:]), 1, 2048))
    return in_chunks(np.arange(len(dataset.labels)), each)


def _exact(origin: Origin, copies: Rows) -> Pairs:
    """Counts come from how many copies share what: 10,000 blank images are 50 million pairs, and none is formed."""
    label, group, part = origin.labels, origin.groups, origin.parts
    all_, same_group, same_part = _sharing(copies), _sharing(copies, group), _sharing(copies, part)
    both = _sharing(copies, part, group)
    partners: dict[Kind, Rows] = {
        "all": all_ - 1, "across": all_ - same_part - same_group + both, "torn": (same_part - both) * origin.divided,
        "together": same_group - 1, "conflicting": all_ - _sharing(copies, label),
    }  # fmt: skip
    leaks = _copies(origin, copies, partners["across"] + partners["torn"], leaking)
    conflicts = _copies(origin, copies, partners["conflicting"], lambda kinds: kinds["conflicting"])
    return origin.pairs(partners, leaks, conflicts)


def _sharing(*keys: Rows) -> Rows:
    """How many images, itself among them, have all the keys of an image `(N,)`."""
    _, index, count = np.unique(np.stack(keys), axis=1, return_inverse=True, return_counts=True)
    return np.asarray(count[index.reshape(-1)])


def _copies(origin: Origin, copies: Rows, partners: Rows, wanted: Callable[[dict[Kind, Mask]], Mask]) -> Iterator[Pair]:
    """The first wanted pairs of copies, by row."""

    def found() -> Iterator[Pair]:
        for i in np.flatnonzero(partners).tolist():
            later = i + 1 + np.flatnonzero(copies[i + 1 :] == copies[i])
            for j in later[wanted(origin.kinds(np.full(len(later), i), later))].tolist():
                yield origin.pair(i, j, 1.0)

    return islice(found(), EXAMPLES)


class _Tally:
    """Near pairs, counted tile by tile, and the most alike of them."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._partners: dict[Kind, Rows] = {kind: np.zeros(len(origin.labels), dtype=np.int64) for kind in KINDS}
        self._leaks: list[tuple[float, int, int]] = []
        self._conflicts: list[tuple[float, int, int]] = []

    def add(self, i: Rows, j: Rows, correlation: NDArray[np.float32]) -> None:
        """Pairs (i, j) that no other tile has."""
        kinds = self._origin.kinds(i, j)
        for kind, mask in kinds.items():
            np.add.at(self._partners[kind], np.concatenate([i[mask], j[mask]]), 1)
        for kept, mask in ((self._leaks, leaking(kinds)), (self._conflicts, kinds["conflicting"])):
            best = np.flatnonzero(mask)[np.lexsort((j[mask], i[mask], -correlation[mask]))[:EXAMPLES]]
            found = zip((-correlation[best]).tolist(), i[best].tolist(), j[best].tolist(), strict=True)
            kept[:] = sorted([*kept, *found])[:EXAMPLES]

    def pairs(self) -> Pairs:
        leaks, conflicts = ((self._origin.pair(i, j, min(-c, 1.0)) for c, i, j in kept)
                            for kept in (self._leaks, self._conflicts))  # fmt: skip
        return self._origin.pairs(self._partners, leaks, conflicts)


def _near(origin: Origin, copies: Rows, small: NDArray[np.float32], asked: Rows, compared: Rows) -> Pairs:
    """All pairs of one of `asked` and one of `compared` that correlate, in tiles; `small` are of `compared`."""
    tally, is_asked = _Tally(origin), np.isin(compared, asked, assume_unique=True)
    queries = small[is_asked]
    starts = range(0, len(compared), TILE)
    for start in tracked(starts, "comparing"):
        there, references = compared[start : start + TILE], small[start : start + TILE]
        twice = is_asked[start : start + TILE]  # such a pair would come from both sides
        for begin in range(0, len(asked), TILE):
            here = asked[begin : begin + TILE]
            if twice.all() and there[-1] <= here[0]:
                continue
            correlation = queries[begin : begin + TILE] @ references.T
            q, r = np.nonzero(correlation >= ALIKE)
            i, j = here[q], there[r]
            new = (copies[i] != copies[j]) & (~twice[r] | (i < j))
            tally.add(np.minimum(i, j)[new], np.maximum(i, j)[new], correlation[q, r][new])
    return tally.pairs()
