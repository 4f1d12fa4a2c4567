"""Observed quality: recall, precision and calibration from answers whose truth became known, by how they were drawn.

Recall is estimated from audit samples alone. Whoever labels the images that were flagged finds no miss, and
a recall of 1; so a label of an answer that was never drawn counts for nothing here.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Flags, Labels
from decision.intervals import Array, Intervals, Z

BINS = 10
HALVINGS = 50
OTHER = -1
"""A true class that the model does not have."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """n answers: what was said, and what was true.

    labels `(n,)`, -1 abstains; flags and can_flag `(n, K)`: the classes that were flagged, and that the policy of
    the answer could flag; top and confidence `(n,)`: the class of the largest adjusted probability, and that
    probability; weights `(n,)`: 1 / inclusion probability of answers drawn for an audit, 0 of all others; known `(n,)`:
    whether there is a label; truth `(n,)`: what it says, where there is one (-1: no class of the model).
    """

    labels: Labels
    flags: Flags
    can_flag: Flags
    top: Labels
    confidence: Array
    weights: Array
    known: Mask
    truth: Labels

    @property
    def drawn(self) -> Mask:
        """Those handed out for an audit `(n,)`."""
        return self.weights > 0

    @property
    def called(self) -> Flags:
        """Class k is called where it is flagged, or the label where the policy could not flag it `(n, K)`."""
        called: Flags = np.where(self.can_flag, self.flags, self.labelled)
        return called

    @property
    def labelled(self) -> Flags:
        """Class k is the label `(n, K)`."""
        labelled: Flags = self.labels[:, None] == np.arange(self.flags.shape[1])
        return labelled

    @property
    def true(self) -> Flags:
        """Class k is known to be the truth `(n, K)`."""
        true: Flags = self.known[:, None] & (self.truth[:, None] == np.arange(self.flags.shape[1]))
        return true


@dataclass(frozen=True, eq=False)
class Additive:
    """Sums that add up over parts of the answers."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Estimates:
    """One figure of each class: its intervals, n labels that it rests on, and n_eff for how many equal ones they stand.

    Arrays `(K,)`; NaN with [0, 1] where the labels say nothing.
    """

    intervals: Intervals
    n: Array
    n_eff: Array


@dataclass(frozen=True, eq=False)
class Sums(Additive):
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
        return _divided(self.squared, self.weight, 0.0)


@dataclass(frozen=True, eq=False)
class Called(Additive):
    """Of the answers drawn for an audit that were called k, or of those that were not: all, those with a label, and
    those that truly are k."""

    drawn: Sums
    known: Sums
    true: Sums

    @classmethod
    def of(cls, outcomes: Outcomes, cell: Flags) -> Self:
        """Those in `cell` `(n, K)`."""
        return cls(*(Sums.of(outcomes.weights, some & outcomes.drawn[:, None])
                     for some in (cell, cell & outcomes.known[:, None], cell & outcomes.true)))  # fmt: skip

    @property
    def silent(self) -> Mask:
        """Where some were drawn, and nobody labelled any `(K,)`."""
        silent: Mask = (self.drawn.n > 0) & (self.known.n == 0)
        return silent

    @property
    def raised(self) -> Array:
        """For how much one labelled answer stands: drawn weight / labelled weight `(K,)`."""
        return _divided(self.drawn.weight, self.known.weight, 0.0)


@dataclass(frozen=True, eq=False)
class Calls(Additive):
    """What recall and precision of each class's flags, or of its labels, come from."""

    called: Called
    other: Called

    @classmethod
    def of(cls, outcomes: Outcomes, calls: Flags, possible: Flags) -> Self:
        """Of answers called `calls` `(n, K)`, among those that `possible` `(n, K)` says may be."""
        return cls(Called.of(outcomes, calls & possible), Called.of(outcomes, ~calls & possible))

    def recall(self) -> Estimates:
        """The share of true k that is called k.

        What was called k and what was not are labelled to different degrees, where reviewers label what is flagged: so
        each side's labels stand for all that was drawn on that side (response classes, Little 1986). Where nobody
        labelled anything of one side, recall is not known.
        """
        hits, misses = self.called.true.times(self.called.raised), self.other.true.times(self.other.raised)
        usual = (self.called.drawn.times(self.called.raised).size, self.other.drawn.times(self.other.raised).size)
        return _share(hits, misses, usual, ~self.called.silent & ~self.other.silent)

    def precision(self) -> Estimates:
        """The share of what was called k that is k."""
        own, every = self.called.true, self.called.known
        others = Sums(*(np.maximum(getattr(every, name) - getattr(own, name), 0.0) for name in vars(every)))
        return _share(own, others, (every.size, every.size), ~self.called.silent)


@dataclass(frozen=True, eq=False)
class Bins(Additive):
    """Of the labelled answers of an audit, in ten bins of the largest adjusted probability: Σ w, Σ w · confidence and
    Σ w · [it is the truth], each `(10,)`; and of all, n and Σ w²."""

    weight: Array
    confidence: Array
    hits: Array
    n: int
    squared: float

    @classmethod
    def of(cls, outcomes: Outcomes) -> Self:
        own = outcomes.known & outcomes.drawn
        weights, confidence = outcomes.weights[own], outcomes.confidence[own]
        right = outcomes.top[own] == outcomes.truth[own]
        bins = np.clip(np.ceil(BINS * confidence).astype(np.int64) - 1, 0, BINS - 1)
        weight, predicted, hits = (
            np.bincount(bins, each, BINS).astype(np.float64)
            for each in (weights, weights * confidence, weights * right)
        )
        return cls(weight, predicted, hits, int(own.sum()), float((weights**2).sum()))

    @property
    def n_eff(self) -> float:
        return float(self.weight.sum()) ** 2 / self.squared if self.squared else 0.0

    def error(self) -> float | None:
        """The expected calibration error Σ_b |hits_b − confidence_b| / Σ_b weight_b: too high where n is small."""
        whole = float(self.weight.sum())
        return float(np.abs(self.hits - self.confidence).sum()) / whole if whole else None


@dataclass(frozen=True, eq=False)
class Reviews(Additive):
    """Labels of answers that no audit drew, by their true class: how many, flagged, and labelled so; each `(K,)`."""

    n: Array
    flagged: Array
    labelled: Array

    @classmethod
    def of(cls, outcomes: Outcomes) -> Self:
        own = outcomes.true & ~outcomes.drawn[:, None]
        return cls(*(some.sum(axis=0) for some in (own, own & outcomes.flags, own & outcomes.labelled)))


@dataclass(frozen=True, eq=False)
class Tally(Additive):
    """All sums of a cohort: `drawn` answers that stand for `represents`, `known` of them labelled, and `reviewed` ones
    beside."""

    flags: Calls
    labels: Calls
    bins: Bins
    reviews: Reviews
    drawn: int
    represents: float
    known: int
    reviewed: int

    @classmethod
    def of(cls, outcomes: Outcomes) -> Self:
        """Of some answers; the tallies of parts add up to that of the whole."""
        drawn = outcomes.drawn
        return cls(
            Calls.of(outcomes, outcomes.flags, outcomes.can_flag),
            Calls.of(outcomes, outcomes.labelled, np.ones_like(outcomes.flags)),
            Bins.of(outcomes), Reviews.of(outcomes), drawn=int(drawn.sum()), represents=float(outcomes.weights.sum()),
            known=int((drawn & outcomes.known).sum()), reviewed=int((~drawn & outcomes.known).sum()),
        )  # fmt: skip


def _share(hits: Sums, misses: Sums, usual: tuple[Array, Array], known: Mask) -> Estimates:
    """Hájek's estimate of a share, Σ_hits w / Σ w, with score limits, as Wilson's are for equal weights.

    The estimate r̂ has, at a share r of W = Σ w, the variance r (1 − r) ((1 − r) h + r m) / W, with h and m the mean
    weights of a hit and of a miss: in a stratified sample misses are the heavy ones, and n_eff = (Σ w)² / Σ w²,
    to which it comes for equal weights, would know nothing of it. To what was seen of either comes one answer
    of the `usual` weight, that of the other kind where there is none; n_eff is never more than n.
    """
    weight, n = hits.weight + misses.weight, hits.n + misses.n
    known = known & (weight > 0)
    one_hit, one_miss = np.where(usual[0] > 0, *usual), np.where(usual[1] > 0, *usual[::-1])
    h = _divided(hits.squared + one_hit**2, hits.weight + one_hit, 0.0)
    m = _divided(misses.squared + one_miss**2, misses.weight + one_miss, 0.0)
    share = np.where(known, np.minimum(_divided(hits.weight, weight, 0.0), 1.0), 0.5)

    def n_at(r: Array) -> Array:
        return np.minimum(n, _divided(weight, (1 - r) * h + r * m, 0.0))

    def limit(outside: float) -> Array:
        inside, outer = share.copy(), np.full(share.shape, outside)
        for _ in range(HALVINGS):
            r = (inside + outer) / 2
            within = (share - r) ** 2 * n_at(r) <= Z**2 * r * (1 - r)
            inside, outer = np.where(within, r, inside), np.where(within, outer, r)
        return inside

    intervals = Intervals(share, limit(0.0), limit(1.0)).where(known, low=0.0, high=1.0)
    return Estimates(intervals, n, np.where(known, n_at(share), 0.0))


def _divided(above: Array, below: Array, otherwise: float) -> Array:
    divided: Array = np.divide(above, below, out=np.full(below.shape, otherwise), where=below > 0)
    return divided
