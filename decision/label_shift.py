"""Label shift: estimates of the live priors from answers without labels, each with an interval, or "not identifiable".

Under label shift each class looks as it did and the classes' shares have changed: P(x | y) is the holdout's, P(y) is
not. An estimate is always a proposal to a person: where the shift is of another kind, all three methods err.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.arrays import Labels, Priors, Probabilities, as_probabilities
from decision.intervals import clopper_pearson
from decision.label_shift_limits import Separation
from decision.priors import adjust

Method = Literal["em", "bbse", "rlls"]
Array = NDArray[np.float64]

MOST_ANSWERS = 1e12
LARGEST_CONDITION = 1e3
RARELY = 5.0  # answers of a class, the fewest that posteriors are adjusted to: at fewer, hardly an image speaks for it
EM_ITERATIONS, EM_TOLERANCE = 10_000, 1e-9
RLLS_ALPHA, RLLS_DELTA = 0.01, 0.05
RLLS_RIDGES = (-40.0, 10.0)  # logarithms: from none that counts in double precision to one that allows no shift


class NotIdentifiable(ValueError):
    """Different priors would show the same predictions: the confusion matrix is too close to singular."""


@dataclass(frozen=True, eq=False)
class PriorsEstimate:
    """Estimated live priors `(K,)` with 95% limits, from n answers."""

    priors: Priors
    low: Array
    high: Array
    n: int
    method: Method


@dataclass(frozen=True, eq=False)
class Known:
    """Held-out images with labels `(m,)`: calibrated probabilities `(m, K)` under `calibration_priors` `(K,)`.

    Images with the same entry of `groups` `(m,)` are related; without, none are.
    """

    probabilities: Probabilities
    labels: Labels
    calibration_priors: Priors
    groups: NDArray[np.int64] | None = None

    @property
    def related(self) -> NDArray[np.int64]:
        """`groups`, each image its own where there are none."""
        return np.arange(len(self.labels)) if self.groups is None else self.groups


def estimate_priors(
    *, probabilities: ArrayLike | None = None, counts: ArrayLike | None = None, method: Method, holdout: Known
) -> PriorsEstimate:
    """Live priors from the calibrated `probabilities` `(n, K)` of answers, or from `counts` `(K,)` of raw predictions.

    `em` (Saerens et al. 2002) needs probabilities; `bbse` (Lipton et al. 2018) and `rlls` (Azizzadenesheli et al. 2019)
    need no more than which class was the most probable. Limits (`label_shift_limits`) rest on the held-out images'
    labels and not on calibration: they hold the estimate and are not drawn in with it where it is shrunk (`rlls`) or
    trusts probabilities (`em`), and they are never inside Clopper and Pearson's for n answers whose classes were known.
    Raises ValueError for arguments that do not fit, and NotIdentifiable where the holdout's confusion matrix has a
    condition number above 1,000 or a class without an image.
    """
    if method not in get_args(Method):
        raise ValueError(f"expected a method among {', '.join(get_args(Method))}, got {method!r}")
    if (probabilities is None) == (counts is None) or (method == "em" and probabilities is None):
        raise ValueError("expected either probabilities or counts, and probabilities for em")
    k = len(holdout.calibration_priors)
    live = None if probabilities is None else as_probabilities(probabilities, k)
    shown = _counts(counts, k) if live is None else np.bincount(live.argmax(axis=1), minlength=k).astype(np.float64)
    known = _Matrix.of(holdout)
    known.require_identifiable()
    n = int(shown.sum())
    if live is not None and method == "em":
        estimate = em(live, holdout.calibration_priors)
        low, high = em_limits(estimate, live, holdout)
    else:
        plain = bbse(shown / n, known.columns)
        shrunk = method == "rlls"
        estimate = rlls(shown / n, known.columns, source=known.source, n_source=known.n) if shrunk else plain
        low, high = known.separation.limits(shown / n, plain, n)
    least, most = clopper_pearson(estimate * n, n)
    return PriorsEstimate(estimate, np.minimum(low, least), np.maximum(high, most), n, method)


def em_limits(estimate: Priors, probabilities: Probabilities, holdout: Known) -> tuple[Array, Array]:
    """95% limits `(K,)` of live priors from the probabilities `(n, K)` of answers, adjusted to the priors EM has found.

    These are what EM equates with the priors, and so weigh images as it does; but what they are for images of each
    class is taken from the holdout. Where probabilities mean what they say, EM's estimate is in the middle.
    """
    n, calibration_priors = len(probabilities), holdout.calibration_priors
    priors = np.maximum(estimate, RARELY / n)
    priors /= priors.sum()
    live, known = (adjust(p, from_=calibration_priors, to=priors) for p in (probabilities, holdout.probabilities))
    try:
        separation = Separation.of(known, holdout.labels, holdout.related)
    except np.linalg.LinAlgError:  # a class that none of its images is taken for, at these priors
        return np.zeros(len(priors)), np.ones(len(priors))
    return separation.limits(live.mean(axis=0), estimate, n)


def _counts(counts: ArrayLike | None, k: int) -> Array:
    shown = np.asarray(counts, dtype=np.float64)
    if shown.shape != (k,) or not (shown >= 0).all() or not 0 < shown.sum() < MOST_ANSWERS or (shown % 1 != 0).any():
        raise ValueError(f"expected {k} whole counts of at least 0 with a sum above 0, got {counts!r}")
    return shown


def em(probabilities: Probabilities, calibration_priors: Priors) -> Priors:
    """The live priors by expectation maximisation (Saerens, Latinne and Decaestecker 2002, equation 9).

    From calibrated probabilities `(n, K)` under `calibration_priors` `(K,)`, started there. Laws: the likelihood of the
    answers never falls; answers whose mean probability is the calibration priors leave them as they are.
    """
    ratios = probabilities / calibration_priors
    priors = np.array(calibration_priors, dtype=np.float64)
    for _ in range(EM_ITERATIONS):
        posterior = ratios * priors  # E-step
        posterior /= posterior.sum(axis=1, keepdims=True)
        updated: Priors = posterior.mean(axis=0)  # M-step
        if np.abs(updated - priors).max() < EM_TOLERANCE:
            return updated
        priors = updated
    return priors


def bbse(shares: Array, columns: Array) -> Priors:
    """The live priors from the shares `(K,)` of raw predictions (Lipton, Wang and Smola 2018).

    Solves C q = shares, C_ij = P(predicted i | class j) `(K, K)`, by least squares with q ≥ 0: C⁻¹ shares wherever
    that has no negative entry.
    """
    from scipy.optimize import nnls  # here, since a service that only decides need not load it

    solution, _ = nnls(columns, shares)
    total = solution.sum()
    if not total > 0:
        raise NotIdentifiable("expected predictions that some class of the holdout explains")
    priors: Priors = solution / total
    return priors


def rlls(shares: Array, columns: Array, *, source: Priors, n_source: int) -> Priors:
    """The live priors from the shares `(K,)` of raw predictions, shrunk to `source` (Azizzadenesheli et al. 2019).

    w = argmin_{w ≥ 0} ‖C w - shares‖₂ + ρ ‖w - 1‖₂ with the joint C_ij = P(predicted i, class j) of the holdout, and
    q_j ∝ w_j source_j; ρ as in the authors' code, α = 0.01, δ = 0.05. The minimum lies on the path of ridge solutions
    (the same trade of squares), which is searched; at its ends are BBSE's w and no shift at all.
    """
    from scipy.optimize import minimize_scalar, nnls

    joint, k = columns * source, len(source)
    spread = 2 * np.log(2 * k / RLLS_DELTA)
    rho = RLLS_ALPHA * 3 * (spread / (3 * n_source) + np.sqrt(spread / n_source))

    def solution(log_ridge: float) -> Array:
        root = np.exp(log_ridge / 2)
        weights: Array = nnls(np.vstack([joint, root * np.eye(k)]), np.concatenate([shares, np.full(k, root)]))[0]
        return weights

    def objective(weights: Array) -> float:
        return float(np.linalg.norm(joint @ weights - shares) + rho * np.linalg.norm(weights - 1.0))

    found = minimize_scalar(
        lambda log_ridge: objective(solution(log_ridge)), bounds=RLLS_RIDGES, method="bounded", options={"xatol": 1e-9}
    )
    weights = min((bbse(shares, columns) / source, np.ones(k), solution(found.x)), key=objective)
    priors: Priors = source * weights
    priors /= priors.sum()
    return priors


@dataclass(frozen=True, eq=False)
class _Matrix:
    """How often the holdout's class j was predicted as i: counts `(K, K)`."""

    counts: Array
    holdout: Known

    @classmethod
    def of(cls, holdout: Known) -> "_Matrix":
        k = len(holdout.calibration_priors)
        cells = holdout.probabilities.argmax(axis=1) * k + holdout.labels
        return cls(np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.float64), holdout)

    @property
    def n(self) -> int:
        return len(self.holdout.labels)

    @property
    def columns(self) -> Array:
        shares: Array = self.counts / self.counts.sum(axis=0)
        return shares

    @property
    def source(self) -> Priors:
        priors: Priors = self.counts.sum(axis=0) / self.counts.sum()
        return priors

    @property
    def separation(self) -> Separation:
        predicted = np.eye(len(self.counts))[self.holdout.probabilities.argmax(axis=1)]
        return Separation.of(predicted, self.holdout.labels, self.holdout.related)

    def require_identifiable(self) -> None:
        if (self.counts.sum(axis=0) == 0).any():
            raise NotIdentifiable("expected held-out images of every class")
        condition = float(np.linalg.cond(self.columns))
        if not condition <= LARGEST_CONDITION:
            limit = f"expected a confusion matrix of condition number at most {LARGEST_CONDITION:g}"
            raise NotIdentifiable(f"the priors are not identifiable: {limit}, got {condition:.3g}")
