"""What the sections of compare.html share: the order of methods and classes, their keys, and the curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training import charts
from training.compare_curves import Curves, class_mix, curves_of
from training.compare_words import breakable
from training.comparison import BASELINE, RULES, Cell, Comparison
from training.estimates import Estimate, difference, estimate

BEST = 5
CURVES_KEPT = 320  # curves of single classes, times two: what keeps the page below 3 MB


@dataclass(frozen=True, eq=False)
class View:
    """A comparison in the order of its page, each part worked out once."""

    comparison: Comparison
    rules: ClassVar[tuple[str, ...]] = tuple(RULES)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Class numbers from the most to the least frequent."""
        counts = [self.comparison.counts.get(name, 0) for name in self.comparison.classes]
        return np.argsort(-np.array(counts), kind="stable")

    @cached_property
    def names(self) -> list[str]:
        """Classes in that order."""
        return [self.comparison.classes[k] for k in self.order]

    @cached_property
    def counts(self) -> list[int]:
        """Images in train of each class in that order."""
        return [self.comparison.counts.get(name, 0) for name in self.names]

    @cached_property
    def methods(self) -> list[str]:
        """Those with cells, baseline first, then by balanced accuracy: the place decides on the colour."""
        ranked = self.ranking(self.rules[0])
        return [m for m in ranked if m == BASELINE] + [m for m in ranked if m != BASELINE]

    @cached_property
    def rivals(self) -> list[str]:
        """All methods but baseline."""
        return [m for m in self.methods if m != BASELINE]

    @cached_property
    def first(self) -> list[int]:
        """Numbers of the methods that are shown at first."""
        initial = self.initial(self.rules[0])
        return [i for i, m in enumerate(self.methods) if m in initial]

    @cached_property
    def curves(self) -> dict[str, Curves]:
        """Of each method."""
        return {m: curves_of(self.cells(m), len(self.comparison.classes)) for m in self.methods}

    @cached_property
    def mix(self) -> NDArray[np.float64]:
        """Share `(K,)` of each class, by its number, in the test splits."""
        return class_mix(self.comparison.cells, len(self.comparison.classes))

    @cached_property
    def kept(self) -> list[int]:
        """Numbers of the classes whose own curves are in the page, rarest first."""
        there = [int(k) for k in self.order[::-1]
                 if any(np.isfinite(c.roc[k + 1]).all() for c in self.curves.values())]  # fmt: skip
        return there[: CURVES_KEPT // max(len(self.methods), 1)]

    def ranking(self, rule: str) -> list[str]:
        """Methods with cells, best balanced accuracy under a rule first."""
        values = {m: self.estimate(m, rule, "balanced_accuracy").mean for m in self.comparison.methods if self.cells(m)}
        return sorted(values, key=lambda m: -values[m] if math.isfinite(values[m]) else math.inf)

    def initial(self, rule: str) -> list[str]:
        """Baseline and the best others: what is shown at first."""
        ranked = self.ranking(rule)
        return [m for m in ranked if m == BASELINE] + [m for m in ranked if m != BASELINE][:BEST]

    def cells(self, method: str) -> Sequence[Cell]:
        """Of a method, by seed."""
        return self.comparison.of(method)

    def estimate(self, method: str, rule: str, name: str) -> Estimate:
        """Of a metric over the seeds of a method."""
        return estimate(self.comparison, method, rule, name)

    def difference(self, method: str, rule: str, name: str) -> Estimate:
        """Method − baseline, paired by seed, under the same rule."""
        return difference(self.comparison, method, rule, name)

    def key(self, i: int) -> str:
        """The CSS classes of what belongs to the i-th method."""
        return f"m{i}" if i in self.first else f"m{i} off"

    def legend(self, i: int) -> str:
        """Line, mark and name of the i-th method."""
        return f"{charts.key_mark(i)}<span>{breakable(self.methods[i])}</span>"


def area(by_seed: NDArray[np.float64]) -> str:
    """An area under a curve, from its values for each seed."""
    return Estimate.of(by_seed.tolist()).text(4)
