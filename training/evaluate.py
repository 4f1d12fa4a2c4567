"""What a bundle is worth on its test split: each metric with a 95% bootstrap interval over groups."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decision import Decisions, Holdout, Interval, Policy, softmax
from decision.arrays import Labels, Priors, Probabilities
from decision.intervals import recall
from training.reliability import CALIBRATION
from training.splits import strata

RESAMPLES = 200
REWEIGHTED = "_reweighted"
MADE_FOR = {
    "argmax": "accuracy, and gives up rare classes for it",
    "priors": "balanced accuracy, and gives up accuracy for it",
    "recall": "the certified recalls",
}

Weights: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Callable[[Decisions, Labels, Weights], float]


def accuracy(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Share of images whose label is right; an abstention is not."""
    return float(np.average(decisions.labels == labels, weights=weights))


def balanced_accuracy(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Mean of the per-class recalls."""
    del weights  # a class's recall does not depend on how much the class weighs
    hits = decisions.labels == labels
    return float(np.mean([hits[labels == k].mean() for k in np.unique(labels)]))


def macro_auc(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Unweighted mean of the one-vs-rest ROC AUCs, on the adjusted probabilities; NaN for a single class."""
    p, present = decisions.probabilities, np.unique(labels)  # a resample of groups may miss a class
    if len(present) < 2:
        return float("nan")
    return float(np.mean([_auc(p[:, k], labels == k, weights) for k in present]))


def macro_f1(decisions: Decisions, labels: Labels, weights: Weights) -> float:
    """Unweighted mean of the per-class F1 scores; 0 for a class that is neither given nor there."""
    n_classes = decisions.probabilities.shape[1]
    hit, decided = decisions.labels == labels, decisions.labels >= 0
    hits = np.bincount(labels[hit], weights[hit], n_classes)
    true = np.bincount(labels, weights, n_classes)
    given = np.bincount(decisions.labels[decided], weights[decided], n_classes)
    return float(np.mean(2 * hits / np.maximum(true + given, np.finfo(float).tiny)))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_auc": macro_auc,
    "macro_f1": macro_f1,
}


def class_recall(k: int) -> Metric:
    """Recall of one class."""
    return lambda decisions, labels, weights: float((decisions.labels[labels == k] == k).mean())


def metrics_of(classes: tuple[str, ...]) -> dict[str, Metric]:
    """All metrics of decisions, with the recall of each class; `reliability.CALIBRATION` has those of probabilities."""
    return METRICS | {f"recall/{name}": class_recall(k) for k, name in enumerate(classes)}


def before_after_change(name: str) -> tuple[str, str, str]:
    """What a calibration metric is called before calibration, after it, and as their difference, after − before."""
    return f"uncalibrated_{name}", name, f"{name}_change"


def evaluate(
    policy: Policy, test: Holdout, mix: Priors, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """All metrics on the test split as it is, and re-weighted to the class mix `(K,)` (`…_reweighted`).

    `mix` is that of the calibrate split: its own frequencies, not the calibration priors, which are what the network
    makes of them, and differ from them where the calibration has no biases. Judged by its own estimate, a network
    would look better calibrated than it is.

    Decisions are the policy's. Calibration is not: it is judged on the calibrated probabilities, under the
    calibration priors, whatever the deployment priors are, beside the plain softmax of the raw logits
    (`uncalibrated_…`) and with the change that calibration made (`…_change`, below 0 where it helped).

    Intervals of recalls are Clopper and Pearson's, a group counting as one image. The others are percentiles of
    a bootstrap that resamples groups within the strata of their rarest class, widened where need be to hold
    the measured value (a resampled ECE is biased upwards). Before, after and change share the resamples.
    """
    decisions, labels = policy.decide(test.logits), test.labels
    before, after = softmax(test.logits), policy.calibration.probabilities(test.logits)
    weights = {"": np.ones(len(labels)), REWEIGHTED: mix_weights(labels, mix)}

    def measure(rows: NDArray[np.int64]) -> dict[str, float]:
        part = Decisions(decisions.labels[rows], decisions.flags[rows], decisions.probabilities[rows])
        return {name + suffix: value for suffix, weight in weights.items() for name, value in
                _measured(part, before[rows], after[rows], labels[rows], weight[rows]).items()}  # fmt: skip

    measured = measure(np.arange(len(labels)))
    del measured["balanced_accuracy" + REWEIGHTED]  # the same
    rng = np.random.default_rng([seed, 99])
    draws = [measure(rows) for rows in _resampled(labels, test.groups, rng, resamples)]
    intervals = {name: _interval(value, [draw[name] for draw in draws]) for name, value in measured.items()}
    return intervals | {f"recall/{name}": _recall(decisions, test, k) for k, name in enumerate(policy.classes)}


def mix_weights(labels: Labels, mix: Priors) -> Weights:
    """What each image `(n,)` weighs for the classes to weigh as `mix` `(K,)`; 1 on average, if all are there."""
    counts = np.bincount(labels, minlength=len(mix))
    return mix[labels] * len(labels) / counts[labels]


def _measured(
    decisions: Decisions, before: Probabilities, after: Probabilities, labels: Labels, weights: Weights
) -> dict[str, float]:
    values = {name: metric(decisions, labels, weights) for name, metric in METRICS.items()}
    for name, score in CALIBRATION.items():
        raw, calibrated = score(before, labels, weights), score(after, labels, weights)
        values |= zip(before_after_change(name), (raw, calibrated, calibrated - raw), strict=True)
    return values


def _auc(probability: NDArray[np.float64], positive: NDArray[np.bool_], weights: Weights) -> float:
    """Weight of the pairs that are in the right order, ties by half (Mann and Whitney 1947)."""
    order = np.argsort(probability[~positive])
    rivals = probability[~positive][order]
    below = np.concatenate([[0.0], np.cumsum(weights[~positive][order])])
    beaten, tied = (np.searchsorted(rivals, probability[positive], side=side) for side in ("left", "right"))
    return float(np.average(below[beaten] + below[tied], weights=weights[positive]) / (2 * below[-1]))


def _recall(decisions: Decisions, test: Holdout, k: int) -> Interval:
    own = test.shares * (test.labels == k)
    return recall(np.array([own @ (decisions.labels == k)]), np.array([own.sum()])).at(0)


def _resampled(
    labels: Labels, groups: NDArray[np.int64], rng: np.random.Generator, times: int
) -> Iterator[NDArray[np.int64]]:
    names, stratum = strata(labels, groups)
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], names), np.searchsorted(groups[order], names, side="right")
    members = [order[begin:end] for begin, end in zip(*bounds, strict=True)]
    pools = [np.flatnonzero(stratum == k) for k in np.unique(stratum)]
    for _ in range(times):
        yield np.concatenate([members[g] for pool in pools for g in rng.choice(pool, len(pool))])


def _interval(value: float, draws: list[float]) -> Interval:
    low, high = np.nanpercentile(draws, [2.5, 97.5]) if draws else (value, value)
    return Interval(value, float(np.fmin(value, low)), float(np.fmax(value, high)))


def as_table(metrics: Mapping[str, Interval], rule: str) -> str:
    """The metrics as lines a terminal shows, each re-weighted one beside its own; `rule` is what decided."""
    twins = {name for name in metrics if name.endswith(REWEIGHTED) and not name.startswith("recall/")}
    own = [name for name in metrics if name not in twins]
    width = max(map(len, own))
    rows = [f"labels by the rule {rule}, which is made for {MADE_FOR[rule]}"] if rule in MADE_FOR else []
    rows += [f"{'':<{width}}  {'test split as it is':<25}  re-weighted to the class mix of calibrate"]
    for name in own:
        cells = [_cell(metrics[n]) for n in (name, *({name + REWEIGHTED} & twins))]
        rows.append("  ".join([f"{name:<{width}}", *(f"{cell:<25}" for cell in cells)]).rstrip())
    return "\n".join(rows)


def _cell(m: Interval) -> str:
    return f"{m.value:7.4f} [{m.low:.4f}, {m.high:.4f}]"
