"""ROC curves, precision-recall curves and confusion matrices of one method, mean over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from training.comparison import Cell

FPR = np.concatenate([np.linspace(0.0, 0.2, 51), np.linspace(0.2, 1.0, 51)[1:]])  # fine where it matters
RECALL = np.linspace(0.0, 1.0, 101)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """One method's curves, mean over its seeds: row 0 the mean over classes, row k + 1 class k, NaN where undefined.

    `roc` is the true positive rate at FPR, `precision` at RECALL, both `(K + 1, 101)`; `auc` and `average_precision`
    have `(K + 1,)` values for each seed.
    """

    roc: Array
    precision: Array
    auc: Array
    average_precision: Array


def curves_of(cells: Sequence[Cell], n_classes: int) -> Curves:
    """The curves of one method; a class that a test split lacks, or that is all of it, has none."""
    shape = len(cells), n_classes + 1
    roc, precision = (np.full((*shape, len(grid)), np.nan) for grid in (FPR, RECALL))
    areas, average = np.full(shape, np.nan), np.full(shape, np.nan)
    for s, cell in enumerate(cells):
        counts = np.bincount(cell.labels, minlength=n_classes)
        there = np.flatnonzero((counts > 0) & (counts < len(cell.labels)))
        for k in there:
            positive, p = cell.labels == k, cell.probabilities[:, k]
            roc[s, k + 1], areas[s, k + 1] = roc_points(positive, p)
            precision[s, k + 1], average[s, k + 1] = precision_points(positive, p)
        if there.size:
            for curve in (roc, precision, areas, average):
                curve[s, 0] = curve[s, 1 + there].mean(axis=0)
    return Curves(roc.mean(axis=0), precision.mean(axis=0), areas, average)


def roc_points(positive: NDArray[np.bool_], probability: Array) -> tuple[Array, float]:
    """True positive rate at each FPR, straight between the corners of the ROC curve, and the area under it."""
    false, true, _ = roc_curve(positive, probability)
    return np.interp(FPR, false, true), float(auc(false, true))


def precision_points(positive: NDArray[np.bool_], probability: Array) -> tuple[Array, float]:
    """Precision where each RECALL is first reached, and the average precision Σ (R_n − R_{n−1}) P_n.

    A step, never a straight line: between two points of a precision-recall curve a line promises too much (Davis and
    Goadrich 2006).
    """
    precision, recall, _ = precision_recall_curve(positive, probability)
    precision, recall = precision[::-1], recall[::-1]
    reached = np.searchsorted(recall, np.maximum(RECALL, np.finfo(float).tiny) - 1e-9 * (RECALL > 0))
    return precision[reached], float(np.diff(recall) @ precision[1:])


def class_mix(cells: Sequence[Cell], n_classes: int) -> Array:
    """Share `(K,)` of each class in the test splits, mean over cells: the precision of chance."""
    shares = [np.bincount(cell.labels, minlength=n_classes) / len(cell.labels) for cell in cells]
    return np.asarray(np.mean(shares or [np.zeros(n_classes)], axis=0))


def mean_chance(mix: Array) -> float:
    """Macro-averaged precision of chance: the mean share of the classes that have a curve."""
    there = mix[(mix > 0) & (mix < 1)]
    return float(there.mean()) if there.size else 0.0


def confusion(cells: Sequence[Cell], rule: str, order: NDArray[np.int64]) -> Array:
    """Shares `(K, K)` of each true class (rows) by decision (columns), mean over seeds; abstentions go to no column.

    Rows and columns in `order`; a class without test images is NaN.
    """
    k, tables = len(order), []
    for cell in cells:
        decided = cell.decisions[rule] >= 0
        pairs = cell.labels[decided] * k + cell.decisions[rule][decided]
        table = np.bincount(pairs, minlength=k * k).reshape(k, k).astype(np.float64)
        n = np.bincount(cell.labels, minlength=k)[:, None]
        tables.append(np.where(n > 0, table / np.maximum(n, 1), np.nan))
    return np.asarray(np.mean(tables, axis=0)[np.ix_(order, order)])
