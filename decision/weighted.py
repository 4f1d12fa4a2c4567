"""Sums of weights of answers that were sampled with unequal chances, and shares of them with 95% limits."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from decision.intervals import Array, Intervals, Z
from decision.outcomes import Mask

HALVINGS = 50


@dataclass(frozen=True, eq=False)
class Additive:
    """Sums that add up over parts of the answers."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class WeightSums(Additive):
    """Of some answers: how many, Σ w and Σ w², each `(K,)`."""

    n: Array
    weight: Array
    squared: Array

    @classmethod
    def of(cls, weights: Array, some: Mask) -> Self:
        """Of the answers with `weights` `(n,)`, where `some` `(n, K)`."""
        member = some.astype(np.float64)
        return cls(member.sum(axis=0), weights @ member, weights**2 @ member)

    def times(self, factor: Array) -> Self:
        """With every weight times `factor` `(K,)`."""
        return type(self)(self.n, factor * self.weight, factor**2 * self.squared)

    @property
    def size(self) -> Array:
        """The mean weight of what they stand for, Σ w² / Σ w; 0 without any `(K,)`."""
        return divided(self.squared, self.weight, 0.0)


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """One figure of each class: its intervals, n labels that it rests on, and n_eff for how many equal ones they stand.

    Arrays `(K,)`; NaN with [0, 1] where the labels say nothing.
    """

    intervals: Intervals
    n: Array
    n_eff: Array


def share_of(hits: WeightSums, misses: WeightSums, usual: tuple[Array, Array], known: Mask) -> ClassFigures:
    """Hájek's estimate of a share, Σ_hits w / Σ w, with score limits, as Wilson's are for equal weights.

    The estimate r̂ has, at a share r of W = Σ w, the variance r (1 − r) ((1 − r) h + r m) / W, with h and m the mean
    weights of a hit and of a miss: in a stratified sample misses are the heavy ones, and n_eff = (Σ w)² / Σ w²,
    to which it comes for equal weights, would know nothing of it. To what was seen of either comes one answer
    of the `usual` weight, that of the other kind where there is none; n_eff is never more than n.
    """
    weight, n = hits.weight + misses.weight, hits.n + misses.n
    known = known & (weight > 0)
    one_hit, one_miss = np.where(usual[0] > 0, *usual), np.where(usual[1] > 0, *usual[::-1])
    h = divided(hits.squared + one_hit**2, hits.weight + one_hit, 0.0)
    m = divided(misses.squared + one_miss**2, misses.weight + one_miss, 0.0)
    share = np.where(known, np.minimum(divided(hits.weight, weight, 0.0), 1.0), 0.5)

    def n_at(r: Array) -> Array:
        return np.minimum(n, divided(weight, (1 - r) * h + r * m, 0.0))

    def limit(outside: float) -> Array:
        inside, outer = share.copy(), np.full(share.shape, outside)
        for _ in range(HALVINGS):
            r = (inside + outer) / 2
            within = (share - r) ** 2 * n_at(r) <= Z**2 * r * (1 - r)
            inside, outer = np.where(within, r, inside), np.where(within, outer, r)
        return inside

    intervals = Intervals(share, limit(0.0), limit(1.0)).where(known, low=0.0, high=1.0)
    return ClassFigures(intervals, n, np.where(known, n_at(share), 0.0))


def divided(above: Array, below: Array, otherwise: float) -> Array:
    """Above / below, `otherwise` where below is not above 0."""
    quotient: Array = np.divide(above, below, out=np.full(below.shape, otherwise), where=below > 0)
    return quotient
