"""Rules: from adjusted probabilities to flags and one label. A rule is a value; ties go to the first class."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Flags, Labels, Logits, Probabilities, frozen


class Rule(Protocol):
    """What a policy asks of a rule."""

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """t `(K,)` on adjusted probabilities, NaN where a class has none."""

    def flags(self, probabilities: Probabilities) -> Flags:
        """Flags `(n, K)` from adjusted probabilities `(n, K)`."""

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        """Labels `(n,)`, never -1. `logits` `(n, K)` are the calibrated ones, under the calibration priors."""


@dataclass(frozen=True, eq=False)
class Divide:
    """argmax_k p'_k / t_k, and no flags: the rules `argmax` and `priors` (Buda et al. 2018, section 2.1).

    The quotient is compared as calibrated logit + `bias`, bias = log(deployment / calibration) - log t,
    so that nothing underflows and, for t = deployment, the label is free of the deployment priors to
    the last bit.
    """

    thresholds: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", frozen(self.thresholds))
        object.__setattr__(self, "bias", frozen(self.bias))

    def flags(self, probabilities: Probabilities) -> Flags:
        return np.zeros(probabilities.shape, dtype=np.bool_)

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del probabilities, flags
        return _first_largest(logits + self.bias)


@dataclass(frozen=True, eq=False)
class Flag:
    """Class k is flagged iff p'_k ≥ t_k; the label is the flagged class with the largest p'_k / t_k.

    With none flagged, the label is the argmax of p' over the classes without a threshold, or, if all
    have one, argmax p'_k / t_k. With every class named this is decision by division; with two
    classes and one named it is "iff p' ≥ t".
    """

    thresholds: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", frozen(self.thresholds))

    def flags(self, probabilities: Probabilities) -> Flags:
        return probabilities >= self.thresholds  # False where the threshold is NaN

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits
        open_classes = np.isnan(self.thresholds)
        ratio = probabilities / np.where(open_classes, 1.0, self.thresholds)
        if open_classes.all() or not open_classes.any():
            return _first_largest(ratio)
        among = np.where(flags.any(axis=1, keepdims=True), flags, open_classes)
        return _first_largest(np.where(among, ratio, -1.0))


def _first_largest(values: NDArray[np.float64]) -> Labels:
    labels: Labels = values.argmax(axis=1)
    return labels
