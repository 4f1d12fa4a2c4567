"""Worlds of two replicas: one in which every rule has a value of its own, and a healthy one that scenarios disturb."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from deploy.metrics import METRICS, Metric
from tests.deploy.replicas import REPLICAS, Line, Series, labels

CLASSES = ("common", "some", "rare")
CONFUSION = np.array([[0.97, 0.2, 0.1], [0.02, 0.75, 0.15], [0.01, 0.05, 0.75]])
"""P(raw i given true j)."""
PRIORS = np.array([0.9, 0.08, 0.02])
TARGETS = np.array([0.8, 0.85, 0.9])
SHARES = CONFUSION @ PRIORS
BINS = [f"{upper / 10:.1f}" for upper in range(1, 11)]
EDGES = ["0.1", "0.5", "0.9", "0.99", "1.0", "+Inf"]
QUANTITIES = {"raw": 3000.0, "decision": 2500.0, "flag": 2000.0, "mass": 2200.0}
MODEL_QUANTITIES = {"abstention": 2600.0, "confidence": 2700.0}
UPDATED = 1_700_000_000.0

VALUES: Mapping[str, tuple[str, ...]] = {
    "class": CLASSES, "design": ("audit", "review"), "bin": tuple(BINS), "stage": ("decode", "infer", "decide"),
    "route": ("POST /predict",), "status": ("200", "503"), "reason": ("missing", "wrong"), "le": tuple(EDGES),
    "result": ("accepted", "duplicate"), "provider": ("CPUExecutionProvider",), "bound": ("oldest", "newest"),
    "equipoise": ("0.1.0",), "bentoml": ("1.4.39",), "onnxruntime": ("1.31.1",), "python": ("3.11.7",),
    "classes": ("3",), "true_class": CLASSES,
}  # fmt: skip


def combinations(names: tuple[str, ...], model: str) -> Iterator[dict[str, str]]:
    """Every value of the labels of a metric of one model."""
    if not names:
        yield {}
        return
    values = {"model": (model,), "model_version": ("1",)}.get(names[0]) or VALUES[names[0]]
    yield from ({names[0]: value} | rest for value in values for rest in combinations(names[1:], model))


def gauge(name: str, of: Mapping[str, str]) -> float:
    """What a replica exports in good health."""
    k = CLASSES.index(of["class"]) if of.get("class") else 0
    by_class = {
        "reference_raw_ratio": SHARES, "reference_images": np.array([2000.0, 300.0, 100.0]),
        "reference_raw_recall_ratio": np.diag(CONFUSION),
        "reference_raw_fpr_ratio": (SHARES - np.diag(CONFUSION) * PRIORS) / (1 - PRIORS),
        "reference_flag_recall_ratio": np.array([0.98, 0.93, 0.95]),
        "policy_threshold_ratio": np.array([0.5, 0.2, 0.1]),
        "policy_prior_ratio": PRIORS, "policy_target_recall_ratio": TARGETS,
    }  # fmt: skip
    if name in by_class:
        return float(by_class[name][k])
    if name == "bbse_inverse":
        return float(np.linalg.inv(CONFUSION)[CLASSES.index(of["true_class"]), k])
    if name == "reference_effective_images":
        return QUANTITIES[of["quantity"]] * (1 - 0.1 * k) if of["class"] else MODEL_QUANTITIES[of["quantity"]]
    return {"policy_fallback": 0.0, "policy_revision": 7.0, "worker_policy_revision": 7.0, "workers": 2.0,
            "policy_updated_timestamp_seconds": UPDATED}.get(name, 1.0)  # fmt: skip


def _labelled(metric: Metric, model: str) -> Iterator[dict[str, str]]:
    if metric.name == "equipoise_reference_effective_images":
        for of in combinations(("model", "model_version", "class"), model):
            yield from (of | {"quantity": quantity} for quantity in QUANTITIES)
        for of in combinations(("model", "model_version"), model):
            yield from (of | {"class": "", "quantity": quantity} for quantity in MODEL_QUANTITIES)
    elif metric.name != "equipoise_bbse_inverse" or model == "few":  # "many" stands for more than 20 classes
        yield from combinations(metric.labels, model)


def exposition(count: int, counter: Callable[[str, Mapping[str, str]], tuple[Line, ...]], models: tuple[str, ...],
               ) -> list[Series]:  # fmt: skip
    """All series of both replicas; `counter` gives the lines of a counter of a replica, named without its prefix."""
    found: list[Series] = []
    for metric in METRICS:
        short = metric.name.removeprefix("equipoise_")
        for model in models if "model" in metric.labels else models[:1]:
            for replica in REPLICAS:
                for of in _labelled(metric, model):
                    found += _one(metric, short, of, replica, count, counter)
    for replica in REPLICAS:
        found += [Series(name, labels({}, replica), (Line(value, 0, count),))
                  for name, value in (("up", 1.0), ("scrape_duration_seconds", 0.01))]  # fmt: skip
    return found


def _one(metric: Metric, short: str, of: dict[str, str], replica: str, count: int, counter: Any) -> Iterator[Series]:
    if metric.kind == "gauge":
        yield Series(metric.name, labels(of, replica), (Line(gauge(short, of), 0, count),))
        return
    if metric.kind == "counter":
        yield Series(metric.name, labels(of, replica), counter(short, of | {"replica": replica}))
        return
    for part in ("sum", "count"):
        yield Series(
            f"{metric.name}_{part}", labels(of, replica), counter(f"{short}_{part}", of | {"replica": replica})
        )
    for edge in EDGES:
        of_edge = of | {"le": edge, "replica": replica}
        yield Series(f"{metric.name}_bucket", labels(of | {"le": edge}, replica), counter(f"{short}_bucket", of_edge))


LONG, SHORT, SLOW = 385, 55, ("feedback", "calibration")
RESET = 40
"""Steps before the end at which replica b restarted."""
RECENT = 8
"""Steps before the end at which every rate changed."""


def lively() -> list[Series]:
    """Two models, rates that changed four hours ago, and a restart of replica b twenty hours ago.

    Requests, whose rules look back five minutes only, are sampled each minute.
    """
    rng = np.random.default_rng(6)

    def counter(name: str, of: Mapping[str, str]) -> tuple[Line, ...]:
        count = LONG if name.startswith(SLOW) else SHORT
        early, late = (round(float(rate), 3) for rate in _rate(name, of) * rng.uniform(0.8, 1.2, 2))
        start = round(float(rng.uniform(0, 5)), 3)
        cuts = [count - RESET, RESET - RECENT, RECENT] if of["replica"] == "b" else [count - RECENT, RECENT]
        lines = [Line(start, early, cuts[0])]
        if of["replica"] == "b":
            lines.append(Line(0.0, early, cuts[1]))
        last = lines[-1]
        return (*lines, Line(round(last.first + last.slope * (last.count - 1) + late, 6), late, cuts[-1]))

    found = exposition(SHORT, counter, ("few", "many"))
    return [replace(one, step=60.0) if one.name == "equipoise_requests_total" else one for one in found]


def _rate(name: str, of: Mapping[str, str]) -> float:
    """Events a step, of the order that a service would see."""
    k = CLASSES.index(of["class"]) if "class" in of else 0
    share = float(SHARES[k])
    if name.endswith("variance_total"):
        return 1000 * share * (1 - share) * 0.9
    if name == "confidence_bucket":
        return 1000 * (EDGES.index(of["le"]) + 1) / len(EDGES)
    if name.endswith("_bucket"):
        return 100.0 * (EDGES.index(of["le"]) + 1)
    if name.startswith("calibration"):
        middle = float(of["bin"]) - 0.05
        part = {"weight": 1.0, "confidence": 0.6 * middle, "hits": 0.5 * middle}
        return 5 * part[name.split("_")[1]]
    if name.startswith("feedback_audit"):
        part = {"weight": 2.0, "squared": 5.0, "true": 1.2, "called": 2.2, "targeted": 1.9 * (k > 0),
                "target": 1.6 * (k > 0)}  # fmt: skip
        return 4 * part[name.split("_")[2]] * (2.5 if name.endswith("called_squared_weight_total") else 1)
    return 1000 * share if "class" in of else 800.0


def healthy(count: int = 13, disturb: Callable[[Series], Series] = lambda series: series) -> list[Series]:
    """One model that does what it should: observed is expected. `disturb` changes what it likes."""

    def counter(name: str, of: Mapping[str, str]) -> tuple[Line, ...]:
        return (Line(0.0, calm(name, of), count),)

    return [disturb(series) for series in exposition(count, counter, ("few",))]


def calm(name: str, of: Mapping[str, str]) -> float:
    """Events a step in good health."""
    k = CLASSES.index(of["class"]) if of.get("class") else 0
    share = float(SHARES[k])
    table = {
        "abstentions": 20.0, "expected_abstentions": 20.0, "expected_abstention_variance": 19.6,
        "confidence_sum": 900.0, "expected_confidence": 900.0, "expected_confidence_variance": 20.0,
        "answers_dropped": 0.0, "auth_failures": 0.1, "feedback_items": 20.0,
        "feedback_audit_weight": 40.0, "feedback_audit_squared_weight": 80.0,
        "feedback_audit_true_positive_weight": 38.0, "feedback_audit_true_positive_squared_weight": 76.0,
        "feedback_audit_called_weight": 42.0, "feedback_audit_called_squared_weight": 84.0,
        "feedback_audit_targeted_weight": 40.0, "feedback_audit_target_weight": 40.0 * float(TARGETS[k]),
    }  # fmt: skip
    short = name.removesuffix("_total")
    if short in table:
        return table[short]
    if name.startswith("requests"):
        return 1000.0 if of["status"] == "200" else 0.0
    if name.startswith("calibration"):
        return {"weight": 10.0, "confidence": 10 * (float(of["bin"]) - 0.05), "hits": 10 * (float(of["bin"]) - 0.05)}[
            name.split("_")[1]]  # fmt: skip
    if name.endswith("variance_total"):
        return round(1000 * share * (1 - share), 6)
    return round(1000 * share, 6) if "class" in of else 100.0
