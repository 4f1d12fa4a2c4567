"""Axes of charts: where values lie on them, and round numbers at their ticks and ends."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """What an axis measures and from where to where; `whole` has ticks at whole numbers only."""

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, values: ArrayLike) -> Array:
        """Where values lie: 0 at `low`, 1 at `high`. What is too small for a log axis lies at its lower end."""
        x, ends = np.asarray(values, dtype=np.float64), np.array([self.low, self.high])
        if self.log:
            x, ends = np.log10(np.maximum(x, self.low)), np.log10(ends)
        return np.asarray((x - ends[0]) / (ends[1] - ends[0]))

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the range; `most` at most, if not on a log axis."""
        found = log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high, most)
        slack = 1e-9 * (self.high - self.low)
        return [t for t in found if self.low - slack <= t <= self.high + slack and not (self.whole and t % 1)]


def covering(label: str, values: ArrayLike, *, log: bool = False) -> Axis:
    """The axis with round ends around all finite values, positive ones if `log`; 0 to 1 (1 to 10) where none are."""
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x) & (x > 0)] if log else x[np.isfinite(x)]
    low, high = (x.min(), x.max()) if x.size else ((1.0, 10.0) if log else (0.0, 1.0))
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))
    found = log_ticks(low, high) if log else linear_ticks(low, high)
    return Axis(label, found[0], found[-1], log)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """The most multiples, at most `most`, of 1, 2 or 5 times a power of ten of which the outer ones enclose the range.

    Law: the ticks of the range between the outer ones are the same ticks.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * m for m in (1, 2, 5, 10, 20, 50)):
        first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
        if last - first < most:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Powers of ten, all or every so many, and where there is room their 2- and 5-fold; the outer ones enclose."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = [float(f"{m}e{e}") for e in range(first, last + 1) for m in (1, 2, 5)]
    begin = max(i for i, t in enumerate(every) if t <= low * (1 + 1e-8))
    end = min(i for i, t in enumerate(every) if t >= high * (1 - 1e-8))
    fine = every[begin : end + 1]
    if len(fine) <= most:
        return fine
    stride = math.ceil((last - first) / (most - 1))
    return [float(f"1e{e}") for e in range(first, last + stride, stride)]


def number(value: float) -> str:
    """A tick as short text."""
    return f"{value:,.10g}".replace("-", "−")
