"""Expectation: what one answer should add to each count under a policy, and how far the holdout can be trusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Priors
from decision.bundle import Bundle
from decision.holdout_sums import HoldoutSums
from decision.intervals import Array
from decision.label_shift import LARGEST_CONDITION
from decision.moves import require_policy
from decision.policy import Policy

QUANTITIES = ("raw", "decision", "flag", "mass")
NO_PRIOR = 1e-9  # what 1 less priors that sum to 1 may leave
MOST_INVERTED = 20  # classes, up to which the confusion matrix is inverted


@dataclass(frozen=True, eq=False)
class Moments:
    """Of numbers per answer: `mean` and `variance` over answers, and `images`, what the mean rests on; of one shape.

    The holdout gives the mean as exactly as so many independent answers would: images = variance / Var(mean).
    """

    mean: Array
    variance: Array
    images: Array


@dataclass(frozen=True, eq=False)
class Expectation:
    """What one answer adds to each count at a policy's deployment priors, expected from the holdout's both splits.

    `mean`, `variance` and `images` `(4, R)`, of QUANTITIES: the most probable class under the calibration priors,
    the label, the flags, and the adjusted probability of each row (a class, or several). `abstention` and `confidence`
    (the top adjusted probability), arrays `()`, are of the whole answer. Of each row `(R,)`: `held_out` images of its
    true classes, a group's counting as one; `raw_recall` P(raw in the row | true class in the row), `raw_fpr`
    P(raw in the row | true class in another), `flag_recall` P(own class flagged | true class in the row), of classes
    that can be flagged; NaN where there is none. `bbse_inverse` `(K, K)`, true by predicted class, is C⁻¹
    of C_ij = P(raw i | true j): C⁻¹ @ shares of raw predictions estimates the live priors. It is there where rows are
    the classes, up to 20, all of them held out, and C's condition number is at most 1,000; else None. `unseen` is the
    prior of classes without a held-out image: of them nothing is known, and the others' priors are scaled up to 1.
    """

    mean: Array
    variance: Array
    images: Array
    abstention: Moments
    confidence: Moments
    held_out: Array
    raw_recall: Array
    raw_fpr: Array
    flag_recall: Array
    bbse_inverse: Array | None
    unseen: float

    def of(self, quantity: str) -> Moments:
        """One of QUANTITIES by row `(R,)`, or "abstention" or "confidence" `()`."""
        if quantity in ("abstention", "confidence"):
            return self.abstention if quantity == "abstention" else self.confidence
        row = QUANTITIES.index(quantity)
        return Moments(self.mean[row], self.variance[row], self.images[row])


def expectation(bundle: Bundle, policy: Policy, rows: NDArray[np.int64] | None = None) -> Expectation:
    """What an answer under `policy` adds to each count, expected at its deployment priors from all held-out images.

    `rows` `(K,)` says in which row, 0 to R - 1, a class is counted; without, each has its own. Laws: means of raw sum
    to 1, as do those of mass, and those of decision with abstention; rows put together add their means; permuting the
    classes permutes the rows; no mean depends on the holdout's own class mix. Raises TypeError for what is no Policy,
    ValueError for one of other classes, for rows that are none, and for a holdout without images.
    """
    require_policy(policy, bundle.classes)
    k = len(bundle.classes)
    rows = _rows(rows, k)
    sums = HoldoutSums.of(bundle, policy, rows)
    if not sums.n.any():
        raise ValueError("expected held-out images, got none")
    unseen = float(policy.deployment_priors[sums.n <= 0].sum())
    priors = np.where(sums.n > 0, policy.deployment_priors, 0.0) / (1.0 - unseen)
    found = [stratified(priors, sums.n, *powers) for powers in (sums.raw, sums.decided, sums.flagged, sums.mass)]
    abstention = _only(stratified(priors, sums.n, *sums.abstained))
    confidence = _only(stratified(priors, sums.n, *sums.confidence))
    raw, _ = sums.raw
    mean, variance, images = (np.stack([getattr(one, name) for one in found]) for name in Moments.__annotations__)
    own = _by_row(rows, priors * _share(raw[np.arange(k), rows], sums.n))
    prior = _by_row(rows, priors)
    return Expectation(
        mean, variance, images, abstention, confidence,
        held_out=_by_row(rows, sums.n),
        raw_recall=_ratio(own, prior),
        raw_fpr=_ratio(np.maximum(found[0].mean - own, 0.0), 1.0 - prior),
        flag_recall=_ratio(_by_row(rows, priors * _share(sums.own_flagged, sums.n)),
                           _by_row(rows, priors * policy.rule.can_flag)),
        bbse_inverse=_inverse(raw, sums.n) if np.array_equal(rows, np.arange(k)) else None,
        unseen=unseen,
    )  # fmt: skip


def stratified(priors: Priors, n: Array, first: Array, second: Array) -> Moments:
    """Of x in a population of `priors` `(K,)`: mean Σ_j π_j E_j[x], variance, and images m = Var(x) / Var(mean) `(C,)`.

    From n `(K,)` held-out images of each class (priors are 0 where none is) and sums over them `(K, C)`, `first` of x
    and `second` of x²; Var(mean) = Σ_j π_j² Var_j(x) / n_j, of a stratified sample.

    Counted as it is, an x that no held-out image has would be known exactly, and so would one that three images of a
    class agree on. So for both variances of m each class's moments are shrunk towards the population's by one image,
    and all of them towards a fair coin's by one image in m₀ = 1 / Σ_j π_j² / n_j, the sample's effective size (Kish
    1965), after Agresti and Coull (1998). An x that was never seen has m = m₀. The variance itself is smoothed
    too, but not above the mean: variance / mean, the scale of `drift.score`, is at most 1 for a count.
    """
    known = np.where(n > 0, n, 1.0)[:, None]
    weights = priors**2 / known[:, 0]
    size = 1.0 / weights.sum()
    mean, square = priors @ (first / known), priors @ (second / known)

    def shrunk(sums: Array, population: Array) -> Array:
        towards: Array = ((sums + population) / (n[:, None] + 1.0) * size + 0.5) / (size + 1.0)
        return towards

    means, squares = shrunk(first, mean), shrunk(second, square)
    smooth = priors @ squares - (priors @ means) ** 2
    variance = np.maximum(square - mean**2, np.minimum(smooth, mean))
    return Moments(mean, variance, smooth / (weights @ (squares - means**2)))


def _only(found: Moments) -> Moments:
    return Moments(found.mean[0], found.variance[0], found.images[0])


def _rows(rows: NDArray[np.int64] | None, k: int) -> NDArray[np.int64]:
    if rows is None:
        return np.arange(k)
    given = np.asarray(rows)
    whole = given.shape == (k,) and np.issubdtype(given.dtype, np.integer)
    if not whole or not np.array_equal(np.unique(given), np.arange(given.max() + 1)):
        raise ValueError(f"expected the row of each of {k} classes, 0 to R - 1 and none left out, got {rows!r}")
    return given.astype(np.int64)


def _by_row(rows: NDArray[np.int64], values: Array) -> Array:
    sums: Array = np.bincount(rows, weights=values).astype(np.float64)
    return sums


def _share(part: Array, n: Array) -> Array:
    share: Array = part / np.where(n > 0, n, 1.0)
    return share


def _ratio(part: Array, whole: Array) -> Array:
    ratio: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > NO_PRIOR)
    return ratio


def _inverse(raw: Array, n: Array) -> Array | None:
    """From raw predictions `(K, K)`, true by predicted, of n `(K,)` images; None where they do not say."""
    if len(n) > MOST_INVERTED or (n <= 0).any():
        return None
    confusion = raw / n[:, None]
    if not np.linalg.cond(confusion) <= LARGEST_CONDITION:
        return None
    inverse: Array = np.linalg.inv(confusion.T).astype(np.float64)
    return inverse
