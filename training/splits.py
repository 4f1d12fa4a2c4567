"""Four disjoint splits, stratified by class, related images together: train, calibrate, tune, test."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset
from training.encoded import Rows
from training.errors import DataError
from training.imbalance import Imbalance, thin

TEST_SHARE = 0.20
REST_SHARES = (0.60, 0.15, 0.25)  # train, calibrate, tune
SMALLEST_CLASS = 4


@dataclass(frozen=True, eq=False)
class Splits:
    """Row numbers of the data set in each split. Nothing but certificates and drift references looks at tune."""

    train: Rows
    calibrate: Rows
    tune: Rows
    test: Rows

    def counts(self, dataset: Dataset) -> dict[str, dict[str, int]]:
        """Images of each class in each split."""
        tables = {f.name: dataset.counts(getattr(self, f.name)) for f in fields(self)}
        return {name: dict(zip(dataset.classes, table.tolist(), strict=True)) for name, table in tables.items()}

    def mix(self, dataset: Dataset) -> NDArray[np.float64]:
        """Share `(K,)` of each class in calibrate, the population that probabilities mean; in train without it."""
        labels = dataset.labels[self.calibrate if self.calibrate.size else self.train]
        return np.bincount(labels, minlength=len(dataset.classes)) / len(labels)


def split(dataset: Dataset, imbalance: Imbalance | None, seed: int, *, holdout: bool = True) -> Splits:
    """Split as DESIGN section 5: a given test part or 20%; the rest is thinned, then split 60/15/25.

    A given `val` part is halved into calibrate and tune. Without `holdout` all but test is train.
    Raises DataError where a class has fewer than 4 images (groups), or misses from a split.
    """
    rng = np.random.default_rng([seed, 0])
    everything = np.arange(len(dataset.labels))
    _require(SMALLEST_CLASS, dataset, everything)
    test = everything[dataset.parts == "test"]
    if test.size == 0:
        test, _ = _allocate(dataset, everything, (TEST_SHARE, 1 - TEST_SHARE), rng)
    rest = np.setdiff1d(everything, test)
    if imbalance is not None:
        rest = thin(dataset, imbalance, rest, rng)
        _require(SMALLEST_CLASS - 1, dataset, rest)  # test has its own already
    if not holdout:
        splits = Splits(rest, rest[:0], rest[:0], test)
        _require_together(dataset, splits)
        return splits
    val = rest[dataset.parts[rest] == "val"]
    if val.size:
        train = np.setdiff1d(rest, val)
        calibrate, tune = _allocate(dataset, val, (0.5, 0.5), rng)
    else:
        train, calibrate, tune = _allocate(dataset, rest, REST_SHARES, rng)
    splits = Splits(train, calibrate, tune, test)
    _require_together(dataset, splits)
    for name, counts in splits.counts(dataset).items():
        if absent := [k for k, n in counts.items() if n == 0]:
            raise DataError(f"the {name} split has no image of {', '.join(absent)}; "
                            f"a class needs at least {SMALLEST_CLASS} images (groups)")  # fmt: skip
    return splits


def strata(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct groups, and for each the rarest class it holds: what stratified draws of groups go by."""
    rarity = np.argsort(np.argsort(np.bincount(labels), kind="stable"), kind="stable")
    names, index = np.unique(groups, return_inverse=True)
    rarest = np.full(len(names), len(rarity))
    np.minimum.at(rarest, index, rarity[labels])
    return names, np.argsort(rarity)[rarest]


def folds(labels: NDArray[np.int64], groups: NDArray[np.int64], most: int, rng: np.random.Generator) -> Rows:
    """Fold of each image `(n,)`, groups whole: as many as the smallest stratum has groups, from 2 to `most`.

    The groups are shuffled within their strata and dealt round. Laws: the folds differ by at most one group, in
    all and in each stratum; with two groups or more, every fold has one.
    """
    names, stratum = strata(labels, groups)
    n_folds = np.clip(np.unique(stratum, return_counts=True)[1].min(), 2, most)
    order = np.lexsort((rng.permutation(len(names)), stratum))
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % n_folds
    return fold[np.searchsorted(names, groups)]


def _require_together(dataset: Dataset, splits: Splits) -> None:
    """The source's own parts may have torn a group apart; we never do."""
    home: dict[int, str] = {}
    for f in fields(splits):
        for group in np.unique(dataset.groups[getattr(splits, f.name)]).tolist():
            if home.setdefault(group, f.name) != f.name:
                row = int(np.flatnonzero(dataset.groups == group)[0])
                raise DataError(f"the group of image {dataset.image_name(row)} is in {home[group]} and in {f.name}: "
                                "related images must be in one part of the data")  # fmt: skip


def _require(least: int, dataset: Dataset, rows: Rows) -> None:
    for k, name in enumerate(dataset.classes):
        n = len(np.unique(dataset.groups[rows[dataset.labels[rows] == k]]))
        if n < least:
            raise DataError(f"class {name!r} has {n} images (groups); expected at least {least}")


def _allocate(dataset: Dataset, rows: Rows, shares: Sequence[float], rng: np.random.Generator) -> list[Rows]:
    """Deal whole groups to len(shares) parts, stratum by stratum, each part at least one group of a stratum."""
    groups = dataset.groups[rows]
    names, stratum = strata(dataset.labels[rows], groups)
    part_of = np.empty(len(names), dtype=int)
    for k in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == k))
        part_of[members] = np.repeat(np.arange(len(shares)), _quota(len(members), shares))
    part = part_of[np.searchsorted(names, groups)]
    return [rows[part == p] for p in range(len(shares))]


def _quota(n: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """n items by largest remainder; where n allows it, nobody goes without."""
    ideal = n * np.asarray(shares)
    quota: NDArray[np.int64] = np.floor(ideal).astype(np.int64)
    for p in np.argsort(quota - ideal, kind="stable")[: n - quota.sum()]:
        quota[p] += 1
    while n >= len(quota) and quota.min() == 0:
        quota[quota.argmax()] -= 1
        quota[quota.argmin()] += 1
    return quota
