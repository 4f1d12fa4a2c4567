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
        ratio = probabilities / np.where(np.isnan(self.thresholds), 1.0, self.thresholds)
        flagged = _first_largest(np.where(flags, ratio, -1.0))
        return np.where(flags.any(axis=1), flagged, unflagged_labels(probabilities, self.thresholds))


@dataclass(frozen=True, eq=False)
class FlagInOrder:
    """Class k is flagged iff p'_k ≥ t_k; the label is the first flagged class in `order` `(m,)`, the rule `recall`.

    With none flagged, the label is found as by `Flag`. A threshold of 0 flags everything.
    """

    thresholds: NDArray[np.float64]
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", frozen(self.thresholds))

    def flags(self, probabilities: Probabilities) -> Flags:
        return probabilities >= self.thresholds

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits
        labels = unflagged_labels(probabilities, self.thresholds)
        for k in reversed(self.order):
            labels = np.where(flags[:, k], k, labels)
        return labels


@dataclass(frozen=True, eq=False)
class Cost:
    """The label of least expected cost, argmin_l Σ_j p'_j c_jl (Elkan 2001, equation 1), and no flags.

    costs `(K, K)`: c_jl ≥ 0 is what it costs to label an image of class j as l.
    """

    costs: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", frozen(self.costs))

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return np.full(len(self.costs), np.nan)

    def flags(self, probabilities: Probabilities) -> Flags:
        return np.zeros(probabilities.shape, dtype=np.bool_)

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits, flags
        # Row by row and not as one matrix product, whose sums may depend on the size of the batch.
        return _first_largest(-np.einsum("nj,jl->nl", probabilities, self.costs))


def unflagged_labels(probabilities: Probabilities, thresholds: NDArray[np.float64]) -> Labels:
    """Labels where nothing is flagged: argmax p' over the classes without a threshold; if all have one, p'_k / t_k."""
    free = np.isnan(thresholds)
    if free.any():
        return _first_largest(np.where(free, probabilities, -1.0))
    return _first_largest(probabilities / np.where(thresholds > 0, thresholds, 1.0))  # 0 flags, and never comes here


def _first_largest(values: NDArray[np.float64]) -> Labels:
    labels: Labels = values.argmax(axis=1)
    return labels
