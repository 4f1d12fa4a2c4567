"""What a bundle is worth on its test split: each metric with a 95% bootstrap interval over groups."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from decision import Decisions, Holdout, Interval
from decision.intervals import clopper_pearson
from training.splits import strata

BINS = 15
RESAMPLES = 200

Weights = NDArray[np.float64]
Labels = NDArray[np.int64]
Metric = Callable[[Decisions, Labels, Weights], float]


def accuracy(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Share of images whose label is right; an abstention is not."""
    return float(np.average(decisions.labels == labels, weights=weights))


def balanced_accuracy(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Mean of the per-class recalls."""
    del weights  # a class's recall does not depend on how much the class weighs
    hits = decisions.labels == labels
    return float(np.mean([hits[labels == k].mean() for k in np.unique(labels)]))


def macro_auc(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Unweighted mean of the one-vs-rest ROC AUCs, on the adjusted probabilities."""
    p = decisions.probabilities
    present = np.unique(labels)  # a resample of groups may miss a class
    return float(np.mean([roc_auc_score(labels == k, p[:, k], sample_weight=weights) for k in present]))


def macro_f1(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Unweighted mean of the per-class F1 scores."""
    names = range(decisions.probabilities.shape[1])
    return float(
        f1_score(labels, decisions.labels, labels=names, average="macro", sample_weight=weights, zero_division=0)
    )


def nll(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Mean negative log probability of the true class, in nats."""
    p = decisions.probabilities[np.arange(len(labels)), labels]
    return float(np.average(-np.log(np.maximum(p, np.finfo(float).tiny)), weights=weights))


def ece(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Expected calibration error of the label's probability (Guo et al. 2017, in 15 bins of equal mass)."""
    confidence, hit, weight = reliability(decisions, labels, weights)
    return float(np.sum(weight * np.abs(hit - confidence)))


def reliability(
    decisions: Decisions, labels: Labels, weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability of the label, share of hits, and share of images in each of 15 bins of equal mass.

    Abstentions count with their most probable class.
    """
    chosen = np.where(decisions.labels >= 0, decisions.labels, decisions.probabilities.argmax(axis=1))
    confidence = decisions.probabilities[np.arange(len(labels)), chosen]
    order = np.argsort(confidence, kind="stable")
    mass = np.cumsum(weights[order]) / weights.sum()
    bins = np.minimum((mass * BINS - 1e-9).astype(int), BINS - 1)
    weight = np.bincount(bins, weights[order], BINS)
    filled = np.flatnonzero(weight)
    means = [np.bincount(bins, weights[order] * values[order], BINS)[filled] / weight[filled]
             for values in (confidence, (chosen == labels).astype(float))]  # fmt: skip
    return means[0], means[1], weight[filled] / weight.sum()


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_auc": macro_auc,
    "macro_f1": macro_f1,
    "nll": nll,
    "ece": ece,
}


def class_recall(k: int) -> Metric:
    """Recall of one class."""
    return lambda decisions, labels, weights: float((decisions.labels[labels == k] == k).mean())


def metrics_of(classes: tuple[str, ...]) -> dict[str, Metric]:
    """All metrics, with the recall of each class."""
    return METRICS | {f"recall/{name}": class_recall(k) for k, name in enumerate(classes)}


def evaluate(
    decisions: Decisions, test: Holdout, classes: tuple[str, ...], calibration_priors: NDArray[np.float64],
    seed: int, resamples: int = RESAMPLES,
) -> dict[str, Interval]:  # fmt: skip
    """All metrics on the test split as it is, and re-weighted to `calibration_priors` (`…_reweighted`).

    Intervals of recalls are Clopper and Pearson's, a group counting as one image. The others are percentiles of
    a bootstrap that resamples groups within the strata of their rarest class, widened where need be to hold
    the measured value (a resampled ECE is biased upwards).
    """
    labels, table = test.labels, metrics_of(classes)
    mix = np.bincount(labels, minlength=len(classes)) / len(labels)
    plain, reweighted = np.ones(len(labels)), (calibration_priors / mix)[labels]

    def measure(rows: NDArray[np.int64]) -> dict[str, float]:
        part = Decisions(decisions.labels[rows], decisions.flags[rows], decisions.probabilities[rows])
        values = {name: metric(part, labels[rows], plain[rows]) for name, metric in METRICS.items()}
        return values | {f"{name}_reweighted": metric(part, labels[rows], reweighted[rows])
                         for name, metric in METRICS.items() if name != "balanced_accuracy"}  # fmt: skip

    measured = measure(np.arange(len(labels)))
    rng = np.random.default_rng([seed, 99])
    draws = [measure(rows) for rows in _resampled(labels, test.groups, rng, resamples)]
    intervals = {name: _interval(value, [draw[name] for draw in draws]) for name, value in measured.items()}
    for k, name in enumerate(classes):
        recall = table[f"recall/{name}"](decisions, labels, plain)
        independent = len(np.unique(test.groups[labels == k]))
        low, high = clopper_pearson(recall * independent, independent)
        intervals[f"recall/{name}"] = Interval(recall, float(low), float(high))
    return intervals


def _resampled(
    labels: Labels, groups: NDArray[np.int64], rng: np.random.Generator, times: int
) -> list[NDArray[np.int64]]:
    names, stratum = strata(labels, groups)
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], names), np.searchsorted(groups[order], names, side="right")
    members = [order[begin:end] for begin, end in zip(*bounds, strict=True)]
    pools = [np.flatnonzero(stratum == k) for k in np.unique(stratum)]
    return [np.concatenate([members[g] for pool in pools for g in rng.choice(pool, len(pool))]) for _ in range(times)]


def _interval(value: float, draws: list[float]) -> Interval:
    low, high = np.nanpercentile(draws, [2.5, 97.5]) if draws else (value, value)
    return Interval(value, float(np.fmin(value, low)), float(np.fmax(value, high)))


def as_table(metrics: Mapping[str, Interval]) -> str:
    """The metrics as lines a terminal shows."""
    width = max(map(len, metrics))
    return "\n".join(f"{name:<{width}}  {m.value:.4f}  [{m.low:.4f}, {m.high:.4f}]" for name, m in metrics.items())
