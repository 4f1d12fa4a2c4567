"""Intervals for what a holdout says of a population: exact for one class, put together for a mixture of classes.

A holdout is a stratified sample, n_j images of each true class j. What it says of a population with priors π is a
sum Σ_j π_j F_j of independent binomial shares: a count in which an image of class j weighs w_j = π_j / n_j.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, gammaincinv, ndtri

Array = NDArray[np.float64]
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # read by the bundle's schema; no import needed here

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def clopper_pearson(hits: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Lower and upper limits of binomial shares (Clopper and Pearson 1934), for hits of n, arrays of one shape.

    Laws: each interval holds hits / n; coverage is never below 95%; without images it is [0, 1].
    Fractional counts are taken as they are: hits and n shrunk alike stand for fewer independent images.
    """
    k, m = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    none, all_ = k <= 0, k >= m
    low = np.where(none, 0.0, betaincinv(np.where(none, 1.0, k), m - k + 1, TAIL))
    high = np.where(all_, 1.0, betaincinv(k + 1, np.where(all_, 1.0, m - k), 1 - TAIL))
    return low, high


def wilson(hits: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Lower and upper score limits of binomial shares (Wilson 1927): 95% on average; [0, 1] without images."""
    k, m = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    z2 = float(ndtri(1 - TAIL)) ** 2
    share = np.where(m > 0, k / np.maximum(m, 1.0), 0.5)
    centre = (m * share + z2 / 2) / (m + z2)
    half = np.sqrt(z2 * (m * share * (1 - share) + z2 / 4)) / (m + z2)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def weighted_count(weights: Array, hits: Array, n: Array) -> tuple[Array, Array, Array]:
    """Value and limits of Σ_j w_j x_j over axis 0, x_j hits of n_j images, weights w_j ≥ 0.

    Gamma limits for directly standardised rates (Fay and Feuer 1997) with the mean weight as the next
    image's (Tiwari, Clegg and Zou 2006) and binomial variance: one class without a hit is not a class
    without risk, and many of them are not many risks.
    """
    value = (weights * hits).sum(axis=0)
    variance = (weights**2 * hits * (1 - hits / np.maximum(n, 1.0))).sum(axis=0)
    more, square = weights.mean(axis=0), (weights**2).mean(axis=0)
    return value, _gamma(value, variance, TAIL), _gamma(value + more, variance + square, 1 - TAIL)


def _gamma(mean: Array, variance: Array, quantile: float) -> Array:
    known = (mean > 0) & (variance > 0)
    shape = np.where(known, mean**2 / np.where(known, variance, 1.0), 1.0)
    return np.where(
        known, gammaincinv(shape, quantile) * np.where(known, variance, 0.0) / np.where(known, mean, 1.0), mean
    )


def precision(priors: Array, hits: Array, n: Array, k: int) -> Interval:
    """Precision of a call for class k in a population with `priors` `(K,)`, from calls `hits` of `n` images a class.

    π_k F_k / Σ_j π_j F_j. The true calls have Wilson's limits, the false ones those of `weighted_count`, their ratio
    those of Donner and Zou (2012). NaN with [0, 1] where nothing was called.
    """
    weights = priors / np.maximum(n, 1.0)
    true = float(weights[k] * hits[k])
    true_low, true_high = (float(priors[k] * limit) for limit in wilson(hits[k], n[k]))
    others = np.arange(len(priors)) != k
    false, false_low, false_high = (float(v) for v in weighted_count(weights[others], hits[others], n[others]))
    if true + false == 0:
        return Interval(float("nan"), 0.0, 1.0)
    low_ratio, high_ratio = _ratio(false, false_low, false_high, true, true_low, true_high)
    value = true / (true + false)
    return Interval(value, min(value, 1 / (1 + high_ratio)), max(value, 1 / (1 + low_ratio)))


def _ratio(
    top: float, top_low: float, top_high: float, bottom: float, bottom_low: float, bottom_high: float
) -> tuple[float, float]:
    """Limits of top / bottom for independent estimates ≥ 0, from the limits of each."""
    product = top * bottom
    low_root = max(0.0, product**2 - top_low * bottom_high * (2 * top - top_low) * (2 * bottom - bottom_high))
    high_root = max(0.0, product**2 - top_high * bottom_low * (2 * top - top_high) * (2 * bottom - bottom_low))
    low_divisor = bottom_high * (2 * bottom - bottom_high)
    high_divisor = bottom_low * (2 * bottom - bottom_low)
    low = (product - low_root**0.5) / low_divisor if low_divisor > 0 else top_low / bottom_high
    high = (product + high_root**0.5) / high_divisor if high_divisor > 0 else float("inf")
    return max(0.0, low), high
