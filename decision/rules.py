"""Rules: from adjusted probabilities to flags and one label. A rule is a value; ties go to the first class."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Flags, Labels, Logits, Probabilities, frozen

TINY = float(np.finfo(np.float64).tiny)


class Rule(Protocol):
    """What a policy asks of a rule."""

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """t `(K,)` on adjusted probabilities, NaN where a class has none."""

    @property
    def can_flag(self) -> Flags:
        """Which classes may be flagged `(K,)`."""

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

    @property
    def can_flag(self) -> Flags:
        return np.zeros(len(self.thresholds), dtype=np.bool_)

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
    ratios: "Ratios" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", frozen(self.thresholds))
        object.__setattr__(self, "ratios", Ratios.of(self.thresholds))

    @property
    def can_flag(self) -> Flags:
        return ~np.isnan(self.thresholds)

    def flags(self, probabilities: Probabilities) -> Flags:
        return probabilities >= self.thresholds  # False where the threshold is NaN

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits
        return _first_largest(self.ratios.compared(probabilities, flags))


@dataclass(frozen=True, eq=False)
class FlagInOrder:
    """Class k is flagged iff p'_k ≥ t_k; the label is the first flagged class in `order` `(m,)`, the rule `recall`.

    With none flagged, the label is found as by `Flag`. A threshold of 0 flags everything.
    """

    thresholds: NDArray[np.float64]
    order: tuple[int, ...]
    ratios: "Ratios" = field(init=False)
    precedence: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        precedence = np.zeros(len(self.thresholds))
        precedence[list(self.order)] = 1.0 + np.arange(len(self.order), 0, -1)  # above any probability or ratio below 1
        object.__setattr__(self, "thresholds", frozen(self.thresholds))
        object.__setattr__(self, "ratios", Ratios.of(self.thresholds))
        object.__setattr__(self, "precedence", frozen(precedence))

    @property
    def can_flag(self) -> Flags:
        return ~np.isnan(self.thresholds)

    def flags(self, probabilities: Probabilities) -> Flags:
        return probabilities >= self.thresholds

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits
        return _first_largest(np.where(flags, self.precedence, self.ratios.unflagged(probabilities)))


@dataclass(frozen=True, eq=False)
class Ratios:
    """p'_k / t_k, by which classes compete: at least 1 where a class is flagged, below 1 where it is not.

    A class without a threshold is free: it competes by p'_k / 2, and so never with a flagged one. Where there
    are free classes, one that has a threshold and is not flagged is out.
    """

    divisors: NDArray[np.float64]
    free: Flags

    @classmethod
    def of(cls, thresholds: NDArray[np.float64]) -> "Ratios":
        free = np.isnan(thresholds)
        return cls(
            frozen(np.where(free, 2.0, np.where(thresholds > 0, np.maximum(thresholds, TINY), 1.0))), free
        )  # 0 always flags

    @cached_property
    def none_is_free(self) -> bool:
        return not self.free.any()

    def compared(self, probabilities: Probabilities, flags: Flags) -> NDArray[np.float64]:
        """`(n, K)`: the label is the first of the largest."""
        ratios: NDArray[np.float64] = probabilities / self.divisors
        return ratios if self.none_is_free else np.where(flags | self.free, ratios, -1.0)

    def unflagged(self, probabilities: Probabilities) -> NDArray[np.float64]:
        """`(n, K)`: `compared` in the same order, at most 1, where nothing is flagged."""
        return probabilities / self.divisors if self.none_is_free else np.where(self.free, probabilities, -1.0)


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

    @property
    def can_flag(self) -> Flags:
        return np.zeros(len(self.costs), dtype=np.bool_)

    def flags(self, probabilities: Probabilities) -> Flags:
        return np.zeros(probabilities.shape, dtype=np.bool_)

    def labels(self, logits: Logits, probabilities: Probabilities, flags: Flags) -> Labels:
        del logits, flags
        # Row by row and not as one matrix product, whose sums may depend on the size of the batch.
        return _first_largest(-np.einsum("nj,jl->nl", probabilities, self.costs))


def _first_largest(values: NDArray[np.float64]) -> Labels:
    labels: Labels = values.argmax(axis=1)
    return labels
