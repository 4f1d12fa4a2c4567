"""Measured values with their 95% intervals."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

Array = NDArray[np.float64]
CONFIDENCE = 0.95


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
    tail = (1 - CONFIDENCE) / 2
    none, all_ = k <= 0, k >= m
    low = np.where(none, 0.0, betaincinv(np.where(none, 1.0, k), m - k + 1, tail))
    high = np.where(all_, 1.0, betaincinv(k + 1, np.where(all_, 1.0, m - k), 1 - tail))
    return low, high
