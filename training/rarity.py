"""How rare classes are: in absolute number and against each other, which ask for different remedies."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError

Size = Literal["many", "medium", "few"]
MANY, FEW = 100, 20
RELATIVELY_RARE = 0.5


def size_of(n: int) -> Size:
    """Many (> 100), medium (20 to 100) or few (< 20) train images, as the long-tail protocol groups (Liu et al. 2019).

    A class of few is absolutely rare (Weiss 2004): too small to learn from, whatever the others have. More data mends
    it.
    """
    return "many" if n > MANY else "medium" if n >= FEW else "few"


@dataclass(frozen=True, eq=False)
class ClassSizes:
    """Train images of each class, `counts` `(K,)`, and what follows from them; at least one image in all.

    ρ and μ are Buda et al.'s (2018, equations 1 and 2), with a minority that is defined for any profile.
    """

    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.counts.any():
            raise DataError("expected images to train on, got none")

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def rho(self) -> float:
        """ρ, the largest class over the smallest, of those that have images."""
        return float(self.counts.max() / self._smallest)

    @cached_property
    def minority(self) -> NDArray[np.bool_]:
        """Which classes `(K,)` have fewer images than the geometric mean of the largest and the smallest, √(max·min).

        Law: where there are two sizes, as in a step, it separates them, whatever share of the classes has which.
        """
        return np.asarray(self.counts**2 < self.counts.max() * self._smallest)

    @property
    def mu(self) -> float:
        """μ, the share of minority classes."""
        return float(self.minority.mean())

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of each class `(K,)`, sum 1."""
        return np.asarray(self.counts / self.n)

    @cached_property
    def relative(self) -> NDArray[np.float64]:
        """Share of each class against the uniform share 1/K `(K,)`; 1 where all have as many images."""
        return self.shares * len(self.counts)

    @property
    def relatively_rare(self) -> NDArray[np.bool_]:
        """Which classes `(K,)` have less than half the uniform share (Weiss 2004). More of that mix keeps it so."""
        return self.relative < RELATIVELY_RARE

    @property
    def majority(self) -> int:
        """The most frequent class, the first of several."""
        return int(self.counts.argmax())

    @property
    def majority_share(self) -> float:
        """Accuracy, under the train mix, of always answering the most frequent class."""
        return float(self.shares[self.majority])

    @property
    def _smallest(self) -> np.int64:
        return np.int64(self.counts[self.counts > 0].min())
