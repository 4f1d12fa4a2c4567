"""Which classes have metrics of their own, and which go together as the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from decision import Bundle
from decision.policy import RecallRule
from service.families import OTHER


@dataclass(frozen=True, eq=False)
class Rows:
    """R rows of metrics: their names, and the row `(K,)` of each class."""

    names: tuple[str, ...]
    of_class: NDArray[np.int64]

    @cached_property
    def one_each(self) -> bool:
        """Whether every class has its own row, in order."""
        return np.array_equal(self.of_class, np.arange(len(self.names)))

    def folded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values `(K,)` summed by row `(R,)`."""
        if self.one_each:
            return values
        sums: NDArray[np.float64] = np.zeros(len(self.names))
        np.add.at(sums, self.of_class, values)
        return sums

    def named(self, values: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
        """Values `(R,)` with their rows' names."""
        return zip(self.names, values.tolist(), strict=True)

    def own(self, values: NDArray[np.float64]) -> Iterator[tuple[str, float]]:
        """Of values `(K,)` of classes those with a row of their own."""
        rest = None if self.one_each else len(self.names) - 1
        rows = self.of_class.tolist()
        return ((self.names[row], value) for row, value in zip(rows, values.tolist(), strict=True) if row != rest)

    @classmethod
    def of(cls, bundle: Bundle, most: int) -> "Rows":
        """A row each for `most` classes, and one for the rest: it depends on the bundle alone, so every host agrees.

        Rows of their own have the targets of the bundle's default policy, then the classes with most test images, of
        which most can be said.
        """
        k = len(bundle.classes)
        if k <= most:
            return cls(bundle.classes, np.arange(k))
        rule, counts = bundle.manifest.policy.rule, bundle.manifest.counts["test"]
        targets = rule.targets if isinstance(rule, RecallRule) else {}
        order = sorted(range(k), key=lambda i: (bundle.classes[i] not in targets, -counts[bundle.classes[i]], i))
        shown = sorted(order[:most])
        of_class = np.full(k, most)
        of_class[shown] = np.arange(most)
        return cls((*(bundle.classes[i] for i in shown), OTHER), of_class)
