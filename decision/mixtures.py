"""Intervals for a population that is a mixture of classes, from a holdout with another mix.

A holdout is a stratified sample, n_j images of each true class j. What it says of a population with priors π is a
sum Σ_j π_j F_j of independent shares: a count in which an image of class j weighs w_j = π_j / n_j. Counts may be
fractional: related images share the weight of one.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from decision.arrays import Priors
from decision.intervals import TAIL, Array, Intervals, wilson

ENOUGH = 10  # events, from which on Wilson's limits of one class may be added to those of others


@dataclass(frozen=True, eq=False)
class Strata:
    """n `(K,)` independent images of each class, of a population with `priors` `(K,)`."""

    priors: Priors
    n: Array

    @cached_property
    def weights(self) -> Array:
        """w `(K,)`: the share of the population that one image stands for, 0 where a class has none."""
        weights: Array = np.where(self.n > 0, self.priors / np.where(self.n > 0, self.n, 1.0), 0.0)
        return weights

    @cached_property
    def unseen(self) -> float:
        """The share of the population whose classes have no image."""
        return float(self.priors[self.n <= 0].sum())


def total(
    weights: Array, n: Array, first: Array, second: Array, largest: Array | float = 1.0, unseen: float = 1.0
) -> Intervals:  # fmt: skip
    """Σ_j w_j Σ_i x_ij over the classes (axis 0), from the classes' sums `first` of x ≥ 0 and `second` of x².

    Gamma limits for directly standardised rates (Fay and Feuer 1997) with the variance of n_j images drawn from each
    class. The upper limit is that of `unseen` images more (1; 1/2 for a mid-p limit) with the `largest` x one can have:
    what was not seen is not impossible. Fay and Feuer take the heaviest class for that image and Tiwari et al. (2006)
    the mean one; here it is the class of an image of the population, Σ w² / Σ w, which neither makes many classes many
    risks nor forgets the one that weighs most.
    """
    value = (weights * first).sum(axis=0)
    variance = variance_of(weights, n, first, second)
    heavy = np.broadcast_to(weights * largest, first.shape)
    mass = heavy.sum(axis=0)
    more = np.divide((heavy**2).sum(axis=0), mass, out=np.zeros(mass.shape), where=mass > 0)
    high = _gamma(value + unseen * more, variance + unseen * more**2, 1 - TAIL)
    return Intervals(value, _gamma(value, variance, TAIL), np.maximum(high, value))


def variance_of(weights: Array, n: Array, first: Array, second: Array) -> Array:
    """The estimated variance of `total`'s value."""
    variance: Array = (weights**2 * (second - first**2 / np.where(n > 0, n, 1.0))).sum(axis=0)
    return np.maximum(variance, 0.0)


def _gamma(mean: Array, variance: Array, quantile: float) -> Array:
    known = (mean > 0) & (variance > 0)
    scale = np.where(known, variance, 0.0) / np.where(known, mean, 1.0)
    shape = np.where(known, mean / np.where(known, scale, 1.0), 1.0)
    return np.where(known, gammaincinv(shape, quantile) * scale, mean)


def share(strata: Strata, hits: Array) -> Intervals:
    """The share of the population that is called, Σ_j π_j F_jc, from calls `hits` `(K, C)`: `(C,)`."""
    return mean(strata, hits, hits, 1.0)


def mean(strata: Strata, first: Array, second: Array, largest: Array | float) -> Intervals:
    """The population's mean of an x between 0 and `largest`, from the classes' sums of x and x² `(K, C)`: `(C,)`.

    A class's sum counts as first² / second events of the size second / first, which has its mean and variance. Classes
    with at least 10 events and 10 images without one have Wilson's limits; those with fewer events `total`'s, together;
    those with fewer images without one the same, for these; and the three are put together by square-and-add (Zou and
    Donner 2008). A class without an image may have any mean, which widens the interval by its prior.
    """
    found = _mean(strata.priors[:, None], strata.n[:, None], first, second, np.broadcast_to(largest, first.shape))
    return Intervals(found.value / (1.0 - strata.unseen), found.low, found.high)


def _mean(priors: Array, n: Array, first: Array, second: Array, most: Array) -> Intervals:
    """`mean` for `priors` `(K, C)` that need not sum to 1; the value is that of the classes with images."""
    weights = priors / np.where(n > 0, n, 1.0) * (n > 0)
    size = np.divide(second, first, out=most.copy(), where=first > 0)
    events = np.divide(first, size, out=np.zeros(first.shape), where=size > 0)
    few, all_but_few = events < ENOUGH, (events >= ENOUGH) & (n - events < ENOUGH)
    many = ~few & ~all_but_few
    without = np.where(all_but_few, size * (n - events), 0.0)
    up = total(weights * few, n, np.where(few, first, 0.0), np.where(few, second, 0.0), most)
    down = total(weights * all_but_few, n, without, size * without, size)
    wilson_low, wilson_high = (priors * size * limit * many for limit in wilson(events, n))
    middle, value = weights * first * many, (weights * first).sum(axis=0)
    below = ((middle - wilson_low) ** 2).sum(axis=0) + (up.value - up.low) ** 2 + (down.high - down.value) ** 2
    above = ((wilson_high - middle) ** 2).sum(axis=0) + (up.high - up.value) ** 2 + (down.value - down.low) ** 2
    unseen = (priors * most * (n <= 0)).sum(axis=0)
    low, high = np.maximum(value - np.sqrt(below), 0.0), value + np.sqrt(above) + unseen
    return Intervals(value, low, np.minimum(high, (priors * most).sum(axis=0)))


def precision(strata: Strata, hits: Array, own: NDArray[np.intp]) -> Intervals:
    """Precision of calls for the classes `own` `(C,)`, π_k F_kc / Σ_j π_j F_jc, from calls `hits` `(K, C)`: `(C,)`.

    The true calls have Wilson's limits, the false ones those of `share`, their ratio those of Donner and Zou (2012).
    NaN with [0, 1] where nothing was called, or no image of the class is there.
    """
    columns = np.arange(len(own))
    n, mine = strata.n[own], hits[own, columns]
    true = Intervals(strata.weights[own] * mine, *(strata.priors[own] * limit for limit in wilson(mine, n)))
    others = np.where(np.arange(len(strata.n))[:, None] == own, 0.0, strata.priors[:, None])
    false = _mean(others, strata.n[:, None], hits, hits, np.ones(hits.shape))
    known = (true.value + false.value > 0) & (n > 0)
    value = np.divide(true.value, true.value + false.value, out=np.full(len(own), np.nan), where=known)
    low_ratio, high_ratio = _ratio(false, true)
    limits = Intervals(value, np.fmin(value, 1 / (1 + high_ratio)), np.fmax(value, 1 / (1 + low_ratio)))
    return limits.where(known, low=0.0, high=1.0)


def _ratio(top: Intervals, bottom: Intervals) -> tuple[Array, Array]:
    """Limits of top / bottom for independent estimates ≥ 0, from the limits of each."""
    product = top.value * bottom.value
    low_divisor = bottom.high * (2 * bottom.value - bottom.high)
    high_divisor = bottom.low * (2 * bottom.value - bottom.low)
    low_root = np.sqrt(np.maximum(0.0, product**2 - top.low * (2 * top.value - top.low) * low_divisor))
    high_root = np.sqrt(np.maximum(0.0, product**2 - top.high * (2 * top.value - top.high) * high_divisor))
    low = np.divide(top.low, bottom.high, out=np.full(product.shape, np.inf), where=bottom.high > 0)
    low = np.divide(product - low_root, low_divisor, out=low, where=low_divisor > 0)
    high = np.divide(product + high_root, high_divisor, out=np.full(product.shape, np.inf), where=high_divisor > 0)
    return np.maximum(low, 0.0), high
