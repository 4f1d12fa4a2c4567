"""Outcomes: answers beside what became known of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Flags, Labels
from decision.intervals import Array

OTHER = -1
"""A true class that the model does not have."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """n answers: what was said, and what was true.

    labels `(n,)`, -1 abstains; flags and can_flag `(n, K)`: the classes that were flagged, and that the policy of
    the answer could flag; targets `(n, K)`: the recall that it promised, 0 where none; top and confidence `(n,)`: the
    class of the largest adjusted probability, and that probability; weights `(n,)`: 1 / inclusion probability of
    answers drawn for an audit, 0 of all others; known `(n,)`: whether there is a label; truth `(n,)`: what it says,
    where there is one (-1: no class of the model).
    """

    labels: Labels
    flags: Flags
    can_flag: Flags
    targets: Array
    top: Labels
    confidence: Array
    weights: Array
    known: Mask
    truth: Labels

    @property
    def drawn(self) -> Mask:
        """Those handed out for an audit `(n,)`."""
        return self.weights > 0

    @property
    def called(self) -> Flags:
        """Class k is called where it is flagged, or the label where the policy could not flag it `(n, K)`."""
        called: Flags = np.where(self.can_flag, self.flags, self.labelled)
        return called

    @property
    def labelled(self) -> Flags:
        """Class k is the label `(n, K)`."""
        labelled: Flags = self.labels[:, None] == np.arange(self.flags.shape[1])
        return labelled

    @property
    def true(self) -> Flags:
        """Class k is known to be the truth `(n, K)`."""
        true: Flags = self.known[:, None] & (self.truth[:, None] == np.arange(self.flags.shape[1]))
        return true
