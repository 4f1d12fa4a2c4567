"""Means over seeds with their errors, and the metrics that the tables of a comparison show."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.comparison import BASELINE, Cell, Comparison

SEEDS_NEEDED = 3  # for a standard error of differences to mean anything


@dataclass(frozen=True)
class Column:
    """A metric of the table: its name in `Cell.metrics` (or `seconds`), its head, and what it is.

    `falling`: less is better. `judged`: better and worse than baseline mean something, which of a cost they do not.
    """

    name: str
    head: str
    meaning: str
    falling: bool = False
    decimals: int = 3
    judged: bool = True


COLUMNS = (
    Column("accuracy", "accuracy", "share of test images whose decision is right, at the class mix of the test split"),
    Column("balanced_accuracy", "balanced accuracy",
           "mean of the recalls of the classes, each class counting the same (Brodersen et al. 2010)"),
    Column("macro_auc", "macro AUC",
           "area under the ROC curve of each class against the rest, unweighted mean over classes (Fawcett 2006)",
           decimals=4),
    Column("macro_f1", "macro F1", "harmonic mean of a class's precision and recall, unweighted mean over classes"),
    Column("recall_rarest_third", "recall, rarest third",
           "mean recall of the third of the classes, rounded up, with the fewest images in train"),
    Column("ece_equal_mass_reweighted", "ECE",
           "expected calibration error of the most probable class, in 15 bins of equal mass (Nixon et al. 2019), test "
           "images weighing what makes their class mix that of the calibrate split", falling=True),
    Column("nll_reweighted", "NLL", "mean negative log probability of the true class, in nats, weighed as for ECE",
           falling=True),
    Column("robustness", "robustness", "balanced accuracy on corrupted test images, mean over the corruptions"),
    Column("seconds", "seconds", "wall time of one training run on the machine named above", falling=True, decimals=1,
           judged=False),
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """Mean over n seeds with its standard error, NaN for fewer than two seeds."""

    mean: float
    error: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate":
        """Of the finite ones among values."""
        x = np.array([v for v in values if math.isfinite(v)])
        if x.size == 0:
            return cls(math.nan, math.nan, 0)
        error = x.std(ddof=1) / math.sqrt(x.size) if x.size > 1 else math.nan
        return cls(float(x.mean()), float(error), x.size)

    def beyond(self) -> int:
        """1 or −1 where the mean is more than two standard errors above or below 0, on enough seeds; else 0."""
        if self.n < SEEDS_NEEDED or abs(self.mean) <= max(2 * self.error, 1e-12):
            return 0
        return 1 if self.mean > 0 else -1

    def text(self, decimals: int = 3) -> str:
        """Mean ± error, as far as there are any."""
        if not self.n:
            return "–"
        return f"{self.mean:.{decimals}f}" + (f" ± {self.error:.{decimals}f}" if math.isfinite(self.error) else "")


def value(cell: Cell, rule: str, name: str) -> float:
    """A metric of a cell under a rule, NaN where there is none."""
    return cell.seconds if name == "seconds" else float(cell.metrics.get(rule, {}).get(name, math.nan))


def estimate(comparison: Comparison, method: str, rule: str, name: str) -> Estimate:
    """Of a metric, or of `seconds`, over the seeds of a method."""
    return Estimate.of(value(cell, rule, name) for cell in comparison.of(method))


def difference(comparison: Comparison, method: str, rule: str, name: str) -> Estimate:
    """Method − baseline under the same rule, over the seeds that both have."""
    baseline = {cell.seed: value(cell, rule, name) for cell in comparison.of(BASELINE)}
    cells = [cell for cell in comparison.of(method) if cell.seed in baseline]
    return Estimate.of(value(cell, rule, name) - baseline[cell.seed] for cell in cells)
