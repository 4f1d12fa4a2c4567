"""Fit the calibration by NLL on the calibrate split: a temperature, and a bias per class where it pays."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from decision import Calibration
from decision.arrays import Labels, Logits, as_logits
from training.splits import folds

RIDGE = 1.0
FOLDS = 5

Array: TypeAlias = NDArray[np.float64]
Groups: TypeAlias = NDArray[np.int64]
Fit: TypeAlias = Callable[..., Calibration]


def fit_calibration(
    logits: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, ridge: float = RIDGE, seed: int
) -> Calibration:
    """T and b `(K,)` from logits `(n, K)`, labels `(n,)` and groups `(n,)` of related images (default: none are).

    Temperature scaling (b = 0), or bias-corrected temperature scaling where `choose` finds it better, fitted to all
    the images. Law: their NLL is at most that of T = 1, b = 0. The seed deals the folds that are chosen by.
    Raises ValueError for arrays that do not belong together, or where the optimiser gives up.
    """
    return choose(logits, labels, groups, ridge=ridge, seed=seed)(logits, labels, ridge=ridge)


def fit_temperature(logits: ArrayLike, labels: ArrayLike, *, ridge: float = RIDGE) -> Calibration:
    """Temperature scaling (Guo et al. 2017): T from logits `(n, K)` and labels `(n,)`; b = 0.

    Minimises the summed NLL + ridge/2 log² T. Laws: the NLL is at most that of T = 1; the ranking within a row
    is kept; with ridge = 0 the mean logit of the true class is the mean expected one.
    """
    z, y = _checked(logits, labels)
    no_bias = np.zeros(z.shape[1])

    def loss(log_t: Array) -> tuple[float, Array]:
        value, gradient = _loss(np.concatenate([log_t, no_bias]), z, y, ridge)
        return value, gradient[:1]

    (log_t,) = _minimised(loss, 1, len(y))
    return Calibration(float(np.exp(log_t)), no_bias)


def fit_bias_corrected(logits: ArrayLike, labels: ArrayLike, *, ridge: float = RIDGE) -> Calibration:
    """Bias-corrected temperature scaling (Alexandari et al. 2020): T and b `(K,)` from logits `(n, K)`, labels `(n,)`.

    Minimises the summed NLL + ridge/2 (Σ b_k² + log² T): the most probable T and b under standard normal
    priors on log T and b. The ridge is what a class with a few images, or a split without an error, is
    held by; against hundreds of images it vanishes. Laws: the NLL is at most that of T = 1, b = 0; with
    ridge = 0 the mean calibrated probability equals the class frequency.
    """
    z, y = _checked(logits, labels)
    found = _minimised(lambda parameters: _loss(parameters, z, y, ridge), 1 + z.shape[1], len(y))
    return Calibration(float(np.exp(found[0])), found[1:] - found[1:].mean())


def choose(
    logits: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, ridge: float = RIDGE, seed: int
) -> Fit:
    """`fit_temperature`, unless `fit_bias_corrected` has a held-out NLL lower by more than one standard error.

    Both are fitted to the same stratified folds, whole groups together, and scored on the images left out.
    The standard error is that of the mean of the paired differences. Breiman et al.'s rule (1984) takes the
    better model's own: that is mostly how much images differ in hardness, which both models share and which
    cancels in the comparison; it would prefer temperature scaling even where every image says otherwise. That of
    the folds' means rests on five numbers. A group counts as one draw, its differences summed. Folds share the
    images they are fitted to, so the error is a little too small (Bengio and Grandvalet 2004): one of them is a
    convention for the simpler model, not a test at a level. A single group cannot be held out: temperature scaling.
    """
    z, y = _checked(logits, labels)
    related = np.arange(len(y)) if groups is None else np.asarray(groups)
    if related.shape != y.shape:
        raise ValueError(f"expected a group for each of {len(y)} images, got shape {related.shape}")
    if len(np.unique(related)) < 2:
        return fit_temperature
    fold = folds(y, related, FOLDS, np.random.default_rng([seed, 98]))
    simple, biased = (_held_out_nll(fit, z, y, fold, ridge) for fit in (fit_temperature, fit_bias_corrected))
    gain, error = mean_and_error(simple - biased, related)
    return fit_bias_corrected if gain > error else fit_temperature


def _held_out_nll(fit: Fit, z: Logits, y: Labels, fold: NDArray[np.int64], ridge: float) -> Array:
    nll = np.empty(len(y))
    for held in (fold == f for f in np.unique(fold)):
        calibration = fit(z[~held], y[~held], ridge=ridge)
        log_p = log_softmax(calibration.logits(z[held]), axis=1)
        nll[held] = -log_p[np.arange(len(log_p)), y[held]]
    return nll


def mean_and_error(values: Array, groups: Groups) -> tuple[float, float]:
    """Mean of values `(n,)` over images, and its standard error where whole groups `(n,)` were drawn, at least two.

    √(G/(G−1) Σ_g (Σ_{i∈g} v_i − v̄)²) / n, for G groups of n images (Cochran 1977, chapter 9A). Laws: without related
    images it is s/√n; copies of every image, each in its image's group, change nothing.
    """
    mean = float(values.mean())
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, values - mean)
    return mean, float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(values))


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[Logits, Labels]:
    z, y = as_logits(logits), np.asarray(labels)
    if len(z) == 0 or y.shape != (len(z),):
        raise ValueError(f"expected at least one image and a label for each, got {len(z)} and labels {y.shape}")
    if y.min() < 0 or y.max() >= z.shape[1]:
        raise ValueError(f"expected labels from 0 to {z.shape[1] - 1}, got {y.min()} to {y.max()}")
    return z - z.max(axis=1, keepdims=True), y


def _loss(parameters: Array, z: Logits, y: Labels, ridge: float) -> tuple[float, Array]:
    """Summed NLL + ridge at (log T, b) `(1 + K,)`, and its gradient."""
    scaled, rows = z * np.exp(-parameters[0]), np.arange(len(y))
    log_p = log_softmax(scaled + parameters[1:], axis=1)
    excess = np.exp(log_p)
    excess[rows, y] -= 1.0
    gradient = np.concatenate([[-(excess * scaled).sum()], excess.sum(axis=0)])
    value = -log_p[rows, y].sum() + ridge / 2 * (parameters @ parameters)
    return float(value), gradient + ridge * parameters


def _minimised(loss: Callable[[Array], tuple[float, Array]], size: int, n: int) -> Array:
    found = minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B",
                     options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9 * n})  # fmt: skip
    if not np.isfinite(found.fun):
        raise ValueError(f"no calibration could be fitted to {n} images: {found.message}")
    parameters: Array = found.x
    return parameters
