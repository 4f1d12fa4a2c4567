"""Whether probabilities mean what they say: proper scores, calibration errors, and bins for reliability diagrams."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Labels, Probabilities
from decision.intervals import wilson

BINS = 15

Array: TypeAlias = NDArray[np.float64]
Bins: TypeAlias = NDArray[np.int64]
Groups: TypeAlias = NDArray[np.int64]
Score: TypeAlias = Callable[[Probabilities, Labels, Array], float]
"""Of probabilities `(n, K)`, labels `(n,)` and what each image weighs `(n,)`; smaller is better."""


def nll(probabilities: Probabilities, labels: Labels, weights: Array) -> float:
    """Mean negative log probability of the true class, in nats: a proper score."""
    p = probabilities[np.arange(len(labels)), labels]
    return float(np.average(-np.log(np.maximum(p, np.finfo(float).tiny)), weights=weights))


def brier(probabilities: Probabilities, labels: Labels, weights: Array) -> float:
    """Mean of Σ_k (p_k − y_k)², y the indicator of the true class; from 0 to 2 (Brier 1950): a proper score."""
    squares = (_excess(probabilities, labels) ** 2).sum(axis=1)
    return float(np.average(squares, weights=weights))


def ece(probabilities: Probabilities, labels: Labels, weights: Array) -> float:
    """Expected calibration error of the most probable class, in 15 bins of equal width (Guo et al. 2017, eq. 3).

    Σ_m |B_m| / n · |accuracy of B_m − mean probability of B_m|; bin m holds the probabilities in ((m−1)/15, m/15].
    """
    confidence, hits = top_label(probabilities, labels)
    return _gap(equal_width(confidence), hits - confidence, weights)


def ece_equal_mass(probabilities: Probabilities, labels: Labels, weights: Array) -> float:
    """`ece` in 15 bins that weigh the same (Nixon et al. 2019): none is too empty to say anything."""
    confidence, hits = top_label(probabilities, labels)
    return _gap(equal_mass(confidence, weights), hits - confidence, weights)


def classwise_ece(probabilities: Probabilities, labels: Labels, weights: Array) -> float:
    """Mean over classes of the calibration error of p_k, in 15 bins of equal width (Kull et al. 2019, section 2).

    1/K Σ_k Σ_m |B_mk| / n · |share of class k in B_mk − mean p_k of B_mk|. What `ece` cannot see, it sees: a rare
    class that is seldom the most probable one.
    """
    n_classes = probabilities.shape[1]
    bins = equal_width(probabilities) + BINS * np.arange(n_classes)
    gaps = weights[:, None] * _excess(probabilities, labels)
    return float(np.abs(np.bincount(bins.ravel(), gaps.ravel())).sum() / (n_classes * weights.sum()))


CALIBRATION: dict[str, Score] = {
    "nll": nll,
    "brier": brier,
    "ece": ece,
    "ece_equal_mass": ece_equal_mass,
    "classwise_ece": classwise_ece,
}


def top_label(probabilities: Probabilities, labels: Labels) -> tuple[Array, Array]:
    """Largest probability of each image, and 1 where its class is the true one, both `(n,)`."""
    top = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(top)), top], (top == labels).astype(np.float64)


def equal_width(probability: Array) -> Bins:
    """Bin of each probability among 15 of equal width, 0 to 14; an edge belongs below, 0 to the first."""
    return np.clip(np.ceil(probability * BINS).astype(np.int64) - 1, 0, BINS - 1)


def equal_mass(probability: Array, mass: Array, n_bins: int = BINS) -> Bins:
    """Bin of each probability `(n,)` among `n_bins` of equal `mass` `(n,)`, in rising order.

    Equal probabilities go together, to the bin of the middle of their mass. Laws: neither the order of images,
    nor whether one of mass 2 or two of mass 1 are given, changes anything.
    """
    _, tied = np.unique(probability, return_inverse=True)
    masses = np.bincount(tied, mass)
    middle = (np.cumsum(masses) - masses / 2) / np.maximum(masses.sum(), np.finfo(float).tiny)
    bins: Bins = np.minimum((middle * n_bins).astype(np.int64), n_bins - 1)[tied]
    return bins


@dataclass(frozen=True, eq=False)
class Diagram:
    """Filled bins of a reliability diagram: mean predicted probability, share observed and its 95% limits."""

    predicted: Array
    observed: Array
    low: Array
    high: Array


def top_diagram(probabilities: Probabilities, labels: Labels, groups: Groups, n_bins: int = BINS) -> Diagram:
    """The probability of the most probable class against the share of hits, in bins of equally many images."""
    confidence, hits = top_label(probabilities, labels)
    return _diagram(confidence, hits, groups, equal_mass(confidence, np.ones(len(labels)), n_bins))


def class_diagram(probabilities: Probabilities, labels: Labels, groups: Groups, k: int, n_bins: int) -> Diagram:
    """The probability of class k against its share, in bins of equal mass, an image's mass being p_k (1 − p_k).

    That is the variance of its outcome, so that bins are equally informative. All but one of bins with equally many
    images would lie at p_k ≈ 0 for a rare class.
    """
    p = probabilities[:, k]
    return _diagram(p, (labels == k).astype(np.float64), groups, equal_mass(p, p * (1 - p), n_bins))


def _diagram(probability: Array, hits: Array, groups: Groups, bins: Bins) -> Diagram:
    """Wilson's limits for as many images as the groups of a bin are worth: all of them where none are related."""
    _, index = np.unique(bins, return_inverse=True)
    predicted, observed = (np.bincount(index, values) / np.bincount(index) for values in (probability, hits))
    n = _effective(index, groups)
    low, high = wilson(observed * n, n)
    return Diagram(predicted, observed, np.minimum(low, observed), np.maximum(high, observed))  # they round


def _effective(bins: Bins, groups: Groups) -> Array:
    """How many unrelated images the groups of each bin are worth, (Σ size)² / Σ size² (Kish 1965)."""
    names, group = np.unique(groups, return_inverse=True)
    cells, size = np.unique(bins * len(names) + group, return_counts=True)
    home = cells // len(names)
    return np.bincount(home, size) ** 2 / np.bincount(home, size**2)


def _excess(probabilities: Probabilities, labels: Labels) -> Array:
    excess = probabilities.copy()
    excess[np.arange(len(labels)), labels] -= 1.0
    return excess


def _gap(bins: Bins, gaps: Array, weights: Array) -> float:
    """Σ over bins of |Σ of the weighted gaps in a bin|, per weight."""
    return float(np.abs(np.bincount(bins, weights * gaps)).sum() / weights.sum())
