"""Audit samples: which answers to have labelled, each drawn with a probability that is known before the draw.

Poisson sampling with permanent random numbers (Brewer, Early and Joyce 1972; Ohlsson 1995): an answer has one u for
good, uniform and independent of everything else, and a draw that gives it the probability p takes it iff u < p. Over
several draws it is taken iff u < max p, so that its weight is 1 / max p, whatever overlaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Probabilities
from decision.intervals import Array

Design = Literal["random", "stratified"]
HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw, a rule: p = min(1, base + Σ_k slopes_k · p_k) from an answer's calibrated probabilities p_k."""

    base: float
    slopes: NDArray[np.float64]

    def inclusion(self, probabilities: Probabilities) -> Array:
        """p `(n,)` of answers with calibrated `probabilities` `(n, K)`."""
        return np.minimum(1.0, self.base + probabilities @ self.slopes)

    def times(self, rate: float) -> "Draw":
        """The same with `rate` times the probabilities."""
        return Draw(rate * self.base, rate * self.slopes)


def shares(probabilities: Probabilities, design: Design) -> Draw:
    """A draw of one answer, Σ_i p_i = 1, from the calibrated `probabilities` `(n, K)` of all, n ≥ 1.

    `random`: 1/n each. `stratified`: half of it 1/n each, half of it Σ_k p_k(x_i) / (K Σ_j p_k(x_j)), which expects as
    many answers of each class as of any other; the first half bounds the weights of those that look like none. It
    depends on no policy, and on no u.
    """
    n, classes = probabilities.shape
    if design == "random":
        return Draw(1 / n, np.zeros(classes))
    mass = probabilities.sum(axis=0)
    slopes = np.divide(0.5 / classes, mass, out=np.zeros(classes), where=mass > 0)
    return Draw((1 - 0.5 * np.count_nonzero(mass) / classes) / n, slopes)


def draw(n: int, probabilities: Probabilities, earlier: Sequence[Array], design: Design) -> Draw:
    """A draw that takes `n` answers on average that none of the `earlier` draws took, or all that are left.

    `probabilities` `(N, K)`, N ≥ 1, are those of the answers; each of `earlier` `(N,)` has their inclusion
    probabilities in another draw. How many were taken, and which, is not asked: what depended on u would not be known
    before the draw.
    """
    before = np.max(np.stack([np.zeros(len(probabilities)), *earlier]), axis=0)
    one = shares(probabilities, design)
    share = one.inclusion(probabilities)
    low, high = 0.0, 1.0 / float(share.min())
    wanted = min(float(n), float((1.0 - before).sum()))
    for _ in range(HALVINGS):
        rate = (low + high) / 2
        taken = float(np.maximum(np.minimum(1.0, rate * share) - before, 0.0).sum())
        low, high = (rate, high) if taken < wanted else (low, rate)
    return one.times(high)
