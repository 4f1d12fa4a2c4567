"""The same picture twice: across splits it flatters every metric, with two labels one of them is wrong."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset
from training.progress import tracked
from training.thumbnails import correlations, thumbnails

ALIKE = 0.98
QUERIES, REFERENCES = 20_000, 200_000
EXAMPLES = 20
BATCH_BYTES = 2**24

Rows = NDArray[np.int64]
Kind = Literal["all", "across", "torn", "together", "conflicting"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Count:
    """Pairs of one kind, and how many images of each part of the source are in one."""

    pairs: int
    images: Mapping[str, int]

    @property
    def n_images(self) -> int:
        return sum(self.images.values())


@dataclass(frozen=True)
class Pair:
    """Two images by name and label, with the Pearson correlation of their thumbnails (1 where byte-equal)."""

    images: tuple[str, str]
    labels: tuple[str, str]
    correlation: float


@dataclass(frozen=True)
class Pairs:
    """Pairs by what they do. Kinds overlap, but for the three of leakage.

    - all: any two images
    - across: in different parts of the source, not of one group
    - torn: in one part that a random split divides, not of one group
    - together: of one group, which no split separates
    - conflicting: with different labels

    `leaks` are the first pairs of across and torn, `conflicts` of conflicting, the most alike first.
    """

    counts: Mapping[Kind, Count]
    leaks: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]


@dataclass(frozen=True)
class Duplicates:
    """Byte-equal images, and those that are not but correlate at least `ALIKE`; what was compared for the latter.

    `flat` images have one grey value all over, so that they correlate with nothing. Near duplicates were looked for
    among `references` images, and of these with `queries` on one side at least: a seeded sample where that is not all.
    """

    exact: Pairs
    near: Pairs
    flat: int
    images: int
    queries: int
    references: int

    @property
    def sampled(self) -> bool:
        """Whether there may be more near duplicates than were found."""
        return self.queries < self.images


def find_duplicates(
    dataset: Dataset, seed: int, *, workers: int = 0, queries: int = QUERIES, references: int = REFERENCES
) -> Duplicates:
    """Duplicates among all images, in bounded memory: no images but a batch, thumbnails of at most `references`.

    Exact: equal pixels as the network would get them, by a 128-bit hash. Near: a Pearson correlation of 0.98 or more
    of grey thumbnails of at most 32×32, area-averaged; an image turned, mirrored or cropped is not found. Near
    pairs hold no exact ones. Up to `queries` images, held-out ones first, are compared with up to `references`.
    """
    asked, compared = _chosen(dataset, np.random.default_rng([seed, 7]), queries, references)
    copies, flat, small = _read(dataset, compared, workers)
    context = _Context.of(dataset, copies)
    return Duplicates(
        _exact(context), _near(context, small, compared, asked, flat), int(flat.sum()),
        len(copies), len(asked), len(compared),
    )  # fmt: skip


def _chosen(dataset: Dataset, rng: np.random.Generator, queries: int, references: int) -> tuple[Rows, Rows]:
    """Rows to ask for, held-out ones first, and all rows to compare them with, which hold them; both ascending."""
    order = rng.permutation(len(dataset.labels))
    order = order[np.argsort(dataset.parts[order] == "train", kind="stable")]
    asked, others = order[:queries], rng.permutation(order[queries:])
    return np.sort(asked), np.sort(np.concatenate([asked, others[: max(0, references - len(asked))]]))


def _read(dataset: Dataset, compared: Rows, workers: int) -> tuple[Rows, NDArray[np.bool_], NDArray[np.float16]]:
    """One pass over all images: which are copies of which `(N,)`, which are flat `(N,)`, thumbnails of `compared`.

    Half precision moves a correlation by some 0.00001.
    """
    n, wanted = len(dataset.labels), np.zeros(len(dataset.labels), dtype=bool)
    wanted[compared] = True
    known: dict[bytes, int] = {}
    copies, flat, small = np.empty(n, dtype=np.int64), np.empty(n, dtype=bool), []
    for rows, images in tracked(_batches(dataset, workers), "looking for duplicates", total=len(_chunks(dataset))):
        digests = (hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest() for image in images)
        copies[rows] = [known.setdefault(digest, len(known)) for digest in digests]
        unit, flat[rows] = thumbnails(images)
        small.append(unit[wanted[rows]].astype(np.float16))
    return copies, flat, np.concatenate(small)


def _chunks(dataset: Dataset) -> list[Rows]:
    each = int(np.clip(BATCH_BYTES // np.prod(dataset.images.shape[1:]), 1, 2048))
    rows = np.arange(len(dataset.labels))
    return [rows[start : start + each] for start in range(0, len(rows), each)]


def _batches(dataset: Dataset, workers: int) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
    for rows in _chunks(dataset):
        yield rows, dataset.images[rows]


@dataclass(frozen=True, eq=False)
class _Context:
    """What is known of each image, all `(N,)`: which are copies, class, group, part, if its part is divided, name."""

    dataset: Dataset
    copies: Rows
    parts: Rows
    part_names: tuple[str, ...]
    divided: NDArray[np.bool_]

    @classmethod
    def of(cls, dataset: Dataset, copies: Rows) -> "_Context":
        names, parts = np.unique(dataset.parts, return_inverse=True)
        torn = {"val"} | (set() if "val" in names else {"train"}) if "test" in names else set(names.tolist())
        return cls(dataset, copies, parts, tuple(names.tolist()), np.isin(dataset.parts, list(torn)))

    def kinds(self, i: Rows, j: Rows) -> dict[Kind, NDArray[np.bool_]]:
        """Which of the pairs `(i, j)` are of each kind."""
        part, group = self.parts[i] == self.parts[j], self.dataset.groups[i] == self.dataset.groups[j]
        return {
            "all": np.ones(len(i), dtype=bool), "across": ~part & ~group, "torn": part & ~group & self.divided[i],
            "together": group, "conflicting": self.dataset.labels[i] != self.dataset.labels[j],
        }  # fmt: skip

    def counts(self, partners: Mapping[Kind, Rows]) -> dict[Kind, Count]:
        """From how many partners of each kind an image has `(N,)`."""
        def images(has: NDArray[np.bool_]) -> dict[str, int]:
            found = np.bincount(self.parts[has], minlength=len(self.part_names))
            return dict(zip(self.part_names, found.tolist(), strict=True))

        return {kind: Count(int(n.sum()) // 2, images(n > 0)) for kind, n in partners.items()}

    def pairs(self, i: Rows, j: Rows, correlation: NDArray[np.float32]) -> tuple[Pair, ...]:
        return tuple(
            Pair((self.name(a), self.name(b)), (self.label(a), self.label(b)), round(float(c), 4))
            for a, b, c in zip(i.tolist(), j.tolist(), correlation, strict=True)
        )

    def name(self, row: int) -> str:
        """An image by its part and place in it, counted from 0."""
        part = self.parts[row]
        return f"{self.part_names[part]}[{int((self.parts[:row] == part).sum())}]"

    def label(self, row: int) -> str:
        return self.dataset.classes[self.dataset.labels[row]]
