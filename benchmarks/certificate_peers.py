"""What other tools do with the same held-out images: scikit-learn's tuned threshold and MAPIE's risk controller.

Run by `python -m benchmarks.certificates`; needs the extra `benchmarks`. In every run the worlds of that simulation
(two classes, no groups) give n positives and 50 times as many negatives, the mix of their priors.

scikit-learn: `TunedThresholdClassifierCV` on a fitted classifier, the threshold of highest precision among those that
meet the target recall; it promises nothing, so only its miss rate is measured. MAPIE: `BinaryClassificationController`
of the recall, the largest of its valid thresholds, with each `fwer_method` of the installed version. The law: on the
same images, MAPIE never issues where `certify` does not, and where both issue, `certify`'s threshold is at least as
high. (Whatever the correction, a valid threshold has a binomial p-value of at most δ, so fewer than r positives lie
below it: it is at most the r-th smallest.) `split_fixed_sequence` spends half of the images on the order of its tests:
the law is checked on the half it tests on, and against a certificate from all of them the runs are counted.
"""

import itertools
import math
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from mapie.risk_control import BinaryClassificationController
from mapie.risk_control.fwer_control import FWER_IMPLEMENTED
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import make_scorer
from sklearn.model_selection import TunedThresholdClassifierCV

from decision import NotCertifiable, certify

if TYPE_CHECKING:
    from benchmarks.certificates import World

IMBALANCE = 50
SPLIT = "split_fixed_sequence"
COUNTS = ("ours_none", "none", "only", "zero", "both", "below", "below_all", "same", "missed")

Row = dict[str, Any]
Probabilities = NDArray[np.float64]
Positive = NDArray[np.bool_]


class Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose one feature is the probability it gives."""

    classes_ = np.array([0, 1])

    def predict_proba(self, features: Probabilities) -> Probabilities:
        return np.column_stack([1 - features, features])


def compare(world: "World", rng: np.random.Generator, n: int, recall: float, confidence: float, runs: int) -> list[Row]:
    """One row for scikit-learn and one for each of MAPIE's methods, all from the same draws.

    Learning the order of a split sequence takes MAPIE 0.2 s: that method gets every fourth run.
    """
    cell = {"ties": world.ties, "n": n, "recall": recall}
    tuned: Row = {"tool": "scikit-learn", **cell, "runs": runs, "missed": 0, "naive": 0, "ours": 0}
    controlled: list[Row] = [
        {"tool": method, **cell, "runs": 0, "threshold": 0.0, "ours": 0.0} | dict.fromkeys(COUNTS, 0)
        for method in FWER_IMPLEMENTED
    ]
    for run in range(runs):
        adjusted = np.concatenate([world.probabilities(rng, j, n * m)[:, 0] for j, m in enumerate((1, IMBALANCE))])
        positive = np.arange(len(adjusted)) < n
        ours = certified(adjusted[positive], recall, confidence)
        tuned["missed"] += world.recall(0, tuned_threshold(adjusted, positive, recall)) < recall
        tuned["naive"] += world.recall(0, empirical_threshold(adjusted[positive], recall)) < recall
        tuned["ours"] += ours is not None and world.recall(0, ours) < recall
        for row in controlled:
            if row["tool"] != SPLIT or run % 4 == 0:
                count(row, world, adjusted, positive, ours, confidence)
    return [tuned, *controlled]


def count(
    row: Row, world: "World", adjusted: Probabilities, positive: Positive, ours: float | None, confidence: float
) -> None:
    """Add one run of a MAPIE method to its row; `ours` is the threshold certified from all images of the run."""
    recall = row["recall"]
    theirs = controlled_threshold(adjusted, positive, recall, confidence, row["tool"])
    seen = adjusted[::2][positive[::2]] if row["tool"] == SPLIT else adjusted[positive]
    like = certified(seen, recall, confidence)
    row["runs"] += 1
    row["ours_none"] += ours is None
    row["none"] += theirs is None
    if theirs is None:
        return
    row["missed"] += world.recall(0, theirs) < recall
    row["zero"] += theirs == 0
    if ours is None or like is None:
        row["only"] += 1
        return
    row["both"] += 1
    row["below"] += like < theirs
    row["below_all"] += ours < theirs
    row["same"] += np.array_equal(seen >= like, seen >= theirs)
    row["threshold"] += theirs
    row["ours"] += ours


def certified(positives: Probabilities, recall: float, confidence: float) -> float | None:
    try:
        return certify(positives, recall=recall, confidence=confidence).threshold
    except NotCertifiable:
        return None


def empirical_threshold(positives: Probabilities, recall: float) -> float:
    """The largest threshold that keeps the target recall on these very images."""
    kept = math.ceil(round(recall * len(positives), 9))
    return float(np.sort(positives)[len(positives) - kept])


def precision_at(positive: NDArray[np.int_], flagged: NDArray[np.int_], *, recall: float) -> float:
    """Precision where the recall is met, 0 where it is not."""
    hits = np.count_nonzero(positive & flagged)
    return hits / np.count_nonzero(flagged) if hits >= recall * np.count_nonzero(positive) else 0.0


def tuned_threshold(adjusted: Probabilities, positive: Positive, recall: float) -> float:
    """scikit-learn's choice among 100 thresholds, scored on these images."""
    tuned = TunedThresholdClassifierCV(
        FrozenEstimator(Given()), scoring=make_scorer(precision_at, recall=recall), cv="prefit", refit=False
    )
    return float(tuned.fit(adjusted[:, None], positive.astype(int)).best_threshold_)


def controlled_threshold(
    adjusted: Probabilities, positive: Positive, recall: float, confidence: float, method: str
) -> float | None:
    """The largest of the thresholds that MAPIE calls valid, None where it finds none."""
    controller = BinaryClassificationController(
        Given().predict_proba, risk="recall", target_level=recall, confidence_level=confidence, fwer_method=method
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where no threshold is valid, and where all are
        if method == SPLIT:
            controller.learn_fixed_sequence_order(adjusted[1::2], positive[1::2])
            adjusted, positive = adjusted[::2], positive[::2]
        controller.calibrate(adjusted, positive)
    return max(map(float, controller.valid_predict_params), default=None)


def broken(rows: Iterable[Row]) -> list[Row]:
    """The rows in which MAPIE issued where we did not, or a higher threshold, from the same images."""
    return [row for row in rows if row.get("only") or row.get("below")]


def tables(rows: list[Row]) -> str:
    return "\n\n".join([_missed(rows), _methods(rows), _cells(rows)])


def _missed(rows: list[Row]) -> str:
    lines = ["| n | recall | runs | certificate | empirical threshold | scikit-learn |", "|---" * 6 + "|"]
    for (n, recall), cell in _grouped([row for row in rows if row["tool"] == "scikit-learn"], "n", "recall"):
        shares = [
            " / ".join(f"{row[key] / row['runs']:.2f}" for row in sorted(cell, key=lambda row: row["ties"]))
            for key in ("ours", "naive", "missed")
        ]
        lines.append(f"| {n} | {recall} | {cell[0]['runs']} | {' | '.join(shares)} |")
    return "Share of runs that miss the target, without ties / with ties:\n\n" + "\n".join(lines)


def _methods(rows: list[Row]) -> str:
    lines = [
        "| fwer_method | runs | ours issues none | MAPIE issues none | MAPIE issues 0 | both issue | ours below | "
        "ours from all images below | same positives flagged | MAPIE alone issues | MAPIE missed |",
        "|---" * 11 + "|",
    ]
    keys = ("runs", "ours_none", "none", "zero", "both", "below", "below_all", "same", "only", "missed")
    for (tool,), cells in _grouped([row for row in rows if row["tool"] != "scikit-learn"], "tool"):
        lines.append(f"| `{tool}` | {' | '.join(str(sum(row[key] for row in cells)) for key in keys)} |")
    return "MAPIE against ours, runs of all cells:\n\n" + "\n".join(lines)


def _cells(rows: list[Row]) -> str:
    names = [f"`{method}`" for method in FWER_IMPLEMENTED]
    lines = [f"| n | recall | ours issues | {' | '.join(names)} |", "|---" * (3 + len(names)) + "|"]
    for (n, recall), cell in _grouped([row for row in rows if row["tool"] != "scikit-learn"], "n", "recall"):
        ours = {row["ours_none"] for row in cell}
        said = [_means([row for row in cell if row["tool"] == method]) for method in FWER_IMPLEMENTED]
        lines.append(f"| {n} | {recall} | {'always' if ours == {0} else 'never'} | {' | '.join(said)} |")
    return "Share of runs in which MAPIE issues, and there the mean threshold, ours / MAPIE's:\n\n" + "\n".join(lines)


def _means(cell: list[Row]) -> str:
    both, runs = (sum(row[key] for row in cell) for key in ("both", "runs"))
    if not both:
        return "never"
    ours, theirs = (sum(row[key] for row in cell) / both for key in ("ours", "threshold"))
    return f"{both / runs:.0%}: {ours:.3f} / {theirs:.3f}"


def _grouped(rows: list[Row], *keys: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    def of(row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in keys)

    return [(key, list(group)) for key, group in itertools.groupby(sorted(rows, key=of), of)]
