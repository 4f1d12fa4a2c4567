"""Holdout sums: the holdout as a policy decides it, summed by true class."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Labels, Logits
from decision.bundle import Bundle
from decision.intervals import Array
from decision.policy import ABSTAIN, Policy

CELLS_AT_ONCE = 2**18  # probabilities that fit a processor's cache

Powers = tuple[Array, Array]
"""Sums of x and of x²."""


@dataclass(frozen=True, eq=False)
class HoldoutSums:
    """Sums of what images add to each count, over each true class's n `(K,)` held-out images of both splits.

    A group's images of one class in one split count as one together. By row, sums `(K, R)`: `raw` predictions,
    `decided` labels, `flagged`, and `mass`. `abstained` and `confidence`: sums `(K, 1)`. `own_flagged` `(K,)` counts
    images flagged as their own class.
    """

    n: Array
    raw: Powers
    decided: Powers
    flagged: Powers
    mass: Powers
    abstained: Powers
    confidence: Powers
    own_flagged: Array

    @classmethod
    def of(cls, bundle: Bundle, policy: Policy, rows: NDArray[np.int64]) -> "HoldoutSums":
        """The holdout under `policy`, class k being counted in row `rows[k]`."""
        order = np.argsort(bundle.holdout.labels, kind="stable")
        by_class = _ByClass(bundle.holdout.labels[order], bundle.holdout.shares[order], rows)
        raw, decided = np.zeros((2, len(order)), np.int64)
        confidence, own_flagged = np.zeros((2, len(order)))
        flagged, mass = by_class.empty(), by_class.empty()
        for part, z in _calibrated(bundle, order):
            decisions = policy.decide_calibrated(z)
            raw[part], decided[part] = z.argmax(axis=1), decisions.labels
            confidence[part] = decisions.probabilities.max(axis=1)
            by_class.add(mass, part, decisions.probabilities)
            if policy.can_flag:
                by_class.add(flagged, part, decisions.flags, policy.rule.can_flag)
                own_flagged[part] = decisions.flags[np.arange(len(z)), by_class.labels[part]]
        abstained = by_class.sums(decided == ABSTAIN)[:, None]
        return cls(
            n=by_class.sums(np.ones(len(order))),
            raw=(by_class.calls(raw),) * 2,
            decided=(by_class.calls(decided),) * 2,
            flagged=flagged,
            mass=mass,
            abstained=(abstained, abstained),
            confidence=(by_class.sums(confidence)[:, None], by_class.sums(confidence**2)[:, None]),
            own_flagged=by_class.sums(own_flagged),
        )


def _calibrated(bundle: Bundle, order: NDArray[np.int64]) -> Iterator[tuple[slice, Logits]]:
    """Calibrated logits of the held-out images in this order, a few at a time: all at once may fill the memory."""
    step = max(1, CELLS_AT_ONCE // len(bundle.classes))
    for start in range(0, len(order), step):
        yield slice(start, start + step), bundle.calibration.logits(bundle.holdout.logits[order[start : start + step]])


@dataclass(frozen=True, eq=False)
class _ByClass:
    """How to sum over true classes: the `labels` of images `(n,)`, what each counts, each class's row.

    Images in order of their labels are summed faster: a few at a time are of a few classes.
    """

    labels: Labels
    shares: Array
    rows: NDArray[np.int64]

    def empty(self) -> Powers:
        k, r = len(self.rows), int(self.rows.max()) + 1
        return np.zeros((k, r)), np.zeros((k, r))

    def sums(self, values: Array | NDArray[np.bool_]) -> Array:
        """Sums `(K,)` of values `(n,)`."""
        found: Array = np.bincount(self.labels, self.shares * values, len(self.rows)).astype(np.float64)
        return found

    def calls(self, called: Labels) -> Array:
        """How many images of each class are called what `(K, R)`; those that abstain are called nothing."""
        k, r = len(self.rows), int(self.rows.max()) + 1
        cells = self.labels * r + self.rows[called]
        counts: Array = np.bincount(cells, self.shares * (called != ABSTAIN), k * r).astype(np.float64)
        return counts.reshape(k, r)

    def add(
        self, sums: Powers, part: slice, values: Array | NDArray[np.bool_], used: NDArray[np.bool_] | None = None
    ) -> None:
        """Add some images' x, their `values` `(n, K)` put in rows; only the `used` classes `(K,)` are not 0."""
        x = np.asarray(values if used is None else values[:, used], dtype=np.float64)
        columns = self.rows if used is None else self.rows[used]
        into, inverse = np.unique(columns, return_inverse=True)
        if len(into) < len(columns):
            x, columns = x @ np.eye(len(into))[inverse], into
        present = np.unique(self.labels[part])
        members = (present[:, None] == self.labels[part]) * self.shares[part]
        for total, power in zip(sums, (x, x**2), strict=True):
            total[np.ix_(present, columns)] += members @ power
