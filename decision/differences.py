"""Paired differences between two policies, decided on the same images: what one gains less what it loses.

Where both say the same of an image it has no part in the difference, so that a small change of policy has a narrow
interval however few images there are, and never one of width 0: limits of gains and losses are those of `total`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision.intervals import Array, Intervals, Z
from decision.mixtures import Strata, precision, total, variance_of

MID_P = 0.5  # of an image not seen: for precision, one that counts up and one that counts down at once


@dataclass(frozen=True, eq=False)
class Pairs:
    """How often two policies call: `hits` `(K, C)` of one, of the `other`, and of `both` on the same images."""

    hits: Array
    other: Array
    both: Array

    @property
    def gained(self) -> Array:
        """Calls that only the first makes."""
        return self.hits - self.both

    @property
    def lost(self) -> Array:
        """Calls that only the other makes."""
        return self.other - self.both


@dataclass(frozen=True, eq=False)
class Changes:
    """Sums over each class's images of x ≥ 0 and of x², `(K, C)`, and the largest x that one image of it can have."""

    first: Array
    second: Array
    largest: Array | float = 1.0

    @classmethod
    def of(cls, kinds: list[tuple[Array, Array]]) -> "Changes":
        """From how many images there are of each kind, and their x."""
        counts, x = (np.stack(arrays) for arrays in zip(*kinds, strict=True))
        return cls((counts * x).sum(axis=0), (counts * x**2).sum(axis=0), x.max(axis=0))


def recall_difference(gained: Array, lost: Array, n: Array) -> Intervals:
    """Differences of two shares of the same n images: adjusted Wald limits (Bonett and Price 2012, equation 3)."""
    p, q = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    known = np.broadcast_to(n > 0, gained.shape)
    value = np.divide(gained - lost, n, out=np.full(gained.shape, np.nan), where=known)
    low, high = np.fmin(value, p - q - half), np.fmax(value, p - q + half)
    return Intervals(value, np.maximum(low, -1.0), np.minimum(high, 1.0)).where(known, low=-1.0, high=1.0)


def share_difference(strata: Strata, pairs: Pairs) -> Intervals:
    """Differences of the shares of the population that two policies call: `(C,)`."""
    gains, losses = Changes(pairs.gained, pairs.gained), Changes(pairs.lost, pairs.lost)
    found = mean_difference(strata, gains, losses)
    low, high = found.low - strata.unseen, found.high + strata.unseen
    return Intervals(found.value, np.maximum(low, -1.0), np.minimum(high, 1.0))


def mean_difference(strata: Strata, gains: Changes, losses: Changes, unseen: float = 1.0) -> Intervals:
    """Differences of the population's means of an x, from what images of each class gain and lose of it: `(C,)`.

    Square-and-add limits (Zou and Donner 2008) with the covariance of gains and losses, which exclude each other.
    """
    weights, n = strata.weights[:, None], strata.n[:, None]
    up, down = (total(weights, n, c.first, c.second, c.largest, unseen) for c in (gains, losses))
    spreads = [np.sqrt(variance_of(weights, n, c.first, c.second)) for c in (gains, losses)]
    covariance = -(weights**2 * gains.first * losses.first / np.where(n > 0, n, 1.0)).sum(axis=0)
    product = spreads[0] * spreads[1]
    correlation = np.maximum(np.divide(covariance, product, out=np.zeros(product.shape), where=product > 0), -1.0)

    def distance(one: Array, other: Array) -> Array:
        together: Array = np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0))
        return together

    value = up.value - down.value
    low = value - distance(up.value - up.low, down.high - down.value)
    high = value + distance(up.high - up.value, down.value - down.low)
    return Intervals(value / (1.0 - strata.unseen), np.minimum(low, value), np.maximum(high, value))


def precision_difference(strata: Strata, pairs: Pairs, own: NDArray[np.intp]) -> Intervals:
    """Differences of the precision of calls for the classes `own` `(C,)`.

    Precision is a ratio: an image of class j that is called moves it, to first order, by w_j (1[j = k] - precision) /
    called share. The difference of two is the sum of what every image moves it up by, less what it moves it down by.
    """
    weights = strata.weights[:, None]
    right = (np.arange(len(strata.n))[:, None] == own).astype(np.float64)
    values = [precision(strata, hits, own).value for hits in (pairs.hits, pairs.other)]
    known = ~np.isnan(values[0]) & ~np.isnan(values[1]) & (strata.unseen == 0)
    moves = []
    for hits, value in zip((pairs.hits, pairs.other), values, strict=True):
        called = (weights * hits).sum(axis=0)
        moves.append((right - np.where(known, value, 0.0)) / np.where(known, called, 1.0))
    cells = [(pairs.gained, moves[0]), (pairs.lost, -moves[1]), (pairs.both, moves[0] - moves[1])]
    up, down = (Changes.of([(n, np.maximum(sign * move, 0.0)) for n, move in cells]) for sign in (1.0, -1.0))
    spread = mean_difference(strata, up, down, unseen=MID_P)
    value = values[0] - values[1]
    low, high = value - (spread.value - spread.low), value + (spread.high - spread.value)
    return Intervals(value, np.maximum(low, -1.0), np.minimum(high, 1.0)).where(known, low=-1.0, high=1.0)
