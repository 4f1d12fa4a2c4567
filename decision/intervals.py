"""Intervals: a value with its 95% limits, and those of a share of one class's images. Counts may be fractional."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri

Array = NDArray[np.float64]
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
Z = float(ndtri(1 - TAIL))


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval; NaN where there is nothing to measure."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # read by the bundle's schema; no import needed here

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        value = "undefined" if math.isnan(self.value) else format(self.value, spec)
        return f"{value} [{self.low:{spec}}, {self.high:{spec}}]"


@dataclass(frozen=True, eq=False)
class Intervals:
    """Many intervals: arrays of one shape."""

    value: Array
    low: Array
    high: Array

    def at(self, *index: int) -> Interval:
        """One of them."""
        return Interval(float(self.value[index]), float(self.low[index]), float(self.high[index]))

    def where(self, known: NDArray[np.bool_], *, low: float, high: float) -> "Intervals":
        """The same where `known`, NaN between `low` and `high` elsewhere."""
        return Intervals(
            np.where(known, self.value, np.nan), np.where(known, self.low, low), np.where(known, self.high, high)
        )


def clopper_pearson(hits: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Lower and upper limits of binomial shares (Clopper and Pearson 1934), for hits of n, arrays of one shape.

    Laws: each interval holds hits / n; coverage is never below 95%; without images it is [0, 1].
    Fractional counts are taken as they are: hits and n shrunk alike stand for fewer independent images.
    """
    k, m = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    low, high = np.zeros(k.shape), np.ones(k.shape)
    some, none, all_ = (k > 0) & (k < m), (k <= 0) & (m > 0), (k >= m) & (m > 0)
    low[some] = betaincinv(k[some], m[some] - k[some] + 1, TAIL)
    high[some] = betaincinv(k[some] + 1, m[some] - k[some], 1 - TAIL)
    high[none] = 1 - TAIL ** (1 / m[none])
    low[all_] = TAIL ** (1 / m[all_])
    return low, high


def wilson(hits: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Lower and upper score limits of binomial shares (Wilson 1927): 95% on average; [0, 1] without images."""
    k, m = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    share = k / np.where(m > 0, m, 1.0)
    centre = (m * share + Z**2 / 2) / (m + Z**2)
    half = np.sqrt(Z**2 * (m * share * (1 - share) + Z**2 / 4)) / (m + Z**2)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def recall(hits: Array, n: Array) -> Intervals:
    """Shares of the classes' own images, with Clopper and Pearson's limits; NaN with [0, 1] without images."""
    low, high = clopper_pearson(hits, n)
    known = np.broadcast_to(n > 0, hits.shape)
    return Intervals(np.divide(hits, n, out=np.full(hits.shape, np.nan), where=known), low, high)
