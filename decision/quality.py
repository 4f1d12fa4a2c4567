"""Observed quality: recall, precision and calibration from answers whose truth became known, by how they were drawn.

Recall is estimated from audit samples alone. Whoever labels the images that were flagged finds no miss, and
a recall of 1; so a label of an answer that was never drawn counts for nothing here.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from decision.arrays import Flags
from decision.intervals import Array
from decision.outcomes import Mask, Outcomes
from decision.weighted import Additive, ClassFigures, WeightSums, divided, share_of

BINS = 10


@dataclass(frozen=True, eq=False)
class Called(Additive):
    """Of the answers drawn for an audit that were called k, or of those that were not: all, those with a label, and
    those that truly are k."""

    drawn: WeightSums
    known: WeightSums
    true: WeightSums

    @classmethod
    def of(cls, outcomes: Outcomes, cell: Flags) -> Self:
        """Those in `cell` `(n, K)`."""
        return cls(*(WeightSums.of(outcomes.weights, some & outcomes.drawn[:, None])
                     for some in (cell, cell & outcomes.known[:, None], cell & outcomes.true)))  # fmt: skip

    @property
    def silent(self) -> Mask:
        """Where some were drawn, and nobody labelled any `(K,)`."""
        silent: Mask = (self.drawn.n > 0) & (self.known.n == 0)
        return silent

    @property
    def raised(self) -> Array:
        """For how much one labelled answer stands: drawn weight / labelled weight `(K,)`."""
        return divided(self.drawn.weight, self.known.weight, 0.0)


@dataclass(frozen=True, eq=False)
class Calls(Additive):
    """What recall and precision of each class's flags, or of its labels, come from."""

    called: Called
    other: Called

    @classmethod
    def of(cls, outcomes: Outcomes, calls: Flags, possible: Flags) -> Self:
        """Of answers called `calls` `(n, K)`, among those that `possible` `(n, K)` says may be."""
        return cls(Called.of(outcomes, calls & possible), Called.of(outcomes, ~calls & possible))

    def recall(self) -> ClassFigures:
        """The share of true k that is called k.

        What was called k and what was not are labelled to different degrees, where reviewers label what is flagged: so
        each side's labels stand for all that was drawn on that side (response classes, Little 1986). Where nobody
        labelled anything of one side, recall is not known.
        """
        hits, misses = self.called.true.times(self.called.raised), self.other.true.times(self.other.raised)
        usual = (self.called.drawn.times(self.called.raised).size, self.other.drawn.times(self.other.raised).size)
        return share_of(hits, misses, usual, ~self.called.silent & ~self.other.silent)

    def precision(self) -> ClassFigures:
        """The share of what was called k that is k."""
        own, every = self.called.true, self.called.known
        others = WeightSums(*(np.maximum(getattr(every, name) - getattr(own, name), 0.0) for name in vars(every)))
        return share_of(own, others, (every.size, every.size), ~self.called.silent)


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
class CohortSums(Additive):
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
        """Of some answers; the sums of parts add up to those of the whole."""
        drawn = outcomes.drawn
        return cls(
            Calls.of(outcomes, outcomes.flags, outcomes.can_flag),
            Calls.of(outcomes, outcomes.labelled, np.ones_like(outcomes.flags)),
            Bins.of(outcomes), Reviews.of(outcomes), drawn=int(drawn.sum()), represents=float(outcomes.weights.sum()),
            known=int((drawn & outcomes.known).sum()), reviewed=int((~drawn & outcomes.known).sum()),
        )  # fmt: skip
