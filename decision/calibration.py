"""Calibration: from a network's logits to probabilities that mean what they say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.arrays import Logits, Probabilities, as_logits, frozen, softmax


@dataclass(frozen=True, eq=False)
class Calibration:
    """p = softmax(z / T + b), one temperature T > 0 and a bias b `(K,)`.

    Temperature scaling where b = 0 (Guo et al. 2017, arXiv 1706.04599), bias-corrected temperature
    scaling otherwise (Alexandari et al. 2020, arXiv 1901.06852).

    Laws: T = 1, b = 0 is the plain softmax; with b = 0 the ranking within a row is kept.
    Raises ValueError unless T is positive and finite and b a finite vector.
    """

    temperature: float
    bias: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", frozen(self.bias))
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"expected a positive, finite temperature, got {self.temperature}")
        if self.bias.ndim != 1 or not np.isfinite(self.bias).all():
            raise ValueError(f"expected a finite bias of shape (classes,), got {self.bias!r}")

    def logits(self, logits: ArrayLike) -> Logits:
        """Calibrated logits `(n, K)`, z / T + b, whose softmax are the calibrated probabilities."""
        z = as_logits(logits)
        if z.shape[1] != len(self.bias):
            raise ValueError(f"expected logits of {len(self.bias)} classes, got {z.shape[1]}")
        return z / self.temperature + self.bias

    def probabilities(self, logits: ArrayLike) -> Probabilities:
        """Calibrated probabilities `(n, K)`, under the calibration priors."""
        return softmax(self.logits(logits))
