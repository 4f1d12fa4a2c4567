"""Pairs of alike images by what they do to a split and to the labels, counted as they come."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset
from training.encoded import Rows

EXAMPLES = 20

Mask = NDArray[np.bool_]
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
    """Two images by name and label, with the correlation of their thumbnails (1 where byte-equal)."""

    images: tuple[str, str]
    labels: tuple[str, str]
    correlation: float


@dataclass(frozen=True)
class Pairs:
    """How many pairs there are of each kind, and examples.

    - all: any two
    - across: in different parts of the source, not of one group
    - torn: in one part that a random split divides, not of one group
    - together: of one group, which no split separates
    - conflicting: with different labels

    `leaks` are the first pairs across or torn, `conflicts` the first conflicting ones.
    """

    counts: Mapping[Kind, Count]
    leaks: tuple[Pair, ...]
    conflicts: tuple[Pair, ...]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the images `(N,)` of a data set come from, as far as pairs of them go."""

    labels: Rows
    groups: Rows
    parts: Rows
    divided: Mask
    classes: tuple[str, ...]
    part_names: tuple[str, ...]
    name: Callable[[int], str]

    @classmethod
    def of(cls, dataset: Dataset) -> "Origin":
        """With the parts that `training.splits.split` divides at random."""
        names = tuple(part for part in ("train", "val", "test") if part in dataset.parts)
        parts = (dataset.parts[:, None] == names).argmax(axis=1)
        kept = [] if "test" not in names else ["test", "train"] if "val" in names else ["test"]
        divided = ~np.isin(dataset.parts, kept)
        return cls(dataset.labels, dataset.groups, parts, divided, dataset.classes, names, dataset.image_name)

    def kinds(self, i: Rows, j: Rows) -> dict[Kind, Mask]:
        """Which of the pairs (i, j), each `(n,)`, are of each kind."""
        part, group = self.parts[i] == self.parts[j], self.groups[i] == self.groups[j]
        return {
            "all": np.ones(len(i), dtype=bool), "across": ~part & ~group, "torn": part & ~group & self.divided[i],
            "together": group, "conflicting": self.labels[i] != self.labels[j],
        }  # fmt: skip

    def pair(self, i: int, j: int, correlation: float) -> Pair:
        """Two rows as a value to show."""
        names = self.name(i), self.name(j)
        return Pair(names, (self.classes[self.labels[i]], self.classes[self.labels[j]]), round(correlation, 4))

    def pairs(self, partners: Mapping[Kind, Rows], leaks: Iterable[Pair], conflicts: Iterable[Pair]) -> Pairs:
        """From how many partners of each kind an image has `(N,)`: a pair has two images."""
        return Pairs({kind: Count(int(n.sum()) // 2, self._by_part(n > 0)) for kind, n in partners.items()},
                     tuple(leaks), tuple(conflicts))  # fmt: skip

    def _by_part(self, has: Mask) -> dict[str, int]:
        found = np.bincount(self.parts[has], minlength=len(self.part_names))
        return dict(zip(self.part_names, found.tolist(), strict=True))


def leaking(kinds: Mapping[Kind, Mask]) -> Mask:
    """Which pairs make a held-out image no stranger to the network."""
    return kinds["across"] | kinds["torn"]
