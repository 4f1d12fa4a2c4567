"""What is counted of answers is what a plain loop over them counts, class by class or with the rest put together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client  # noqa: F401 - here, so that it does not take the tests for a worker
import pytest
from numpy.typing import NDArray

from decision import Bundle, Policy, load_bundle, parse_policy
from decision.expectation import expectation
from service.expectations import Expectations
from service.families import CONFIDENCES, DURATIONS, EXPECTED, FAMILIES, layout
from service.rows import Rows
from service.tally import added_up

POLICIES: list[dict[str, Any]] = [
    {"rule": {"kind": "priors"}},
    {"rule": {"kind": "argmax"}, "abstain_below": 0.6, "deployment_priors": "uniform"},
    {"rule": {"kind": "thresholds", "thresholds": {"red": 0.4, "blue": 0.2}}, "abstain_below": 0.7},
    {"rule": {"kind": "thresholds", "thresholds": {"green": 0.999}}},
]


@pytest.fixture
def bundle(write_bundle: Callable[..., Path]) -> Bundle:
    return load_bundle(write_bundle())


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def metrics_of(bundle: Bundle, rows: Rows) -> Any:
    from service.metrics import Metrics

    return Metrics(bundle, rows, Expectations(bundle, rows), "CPUExecutionProvider")


def counted_by_hand(policy: Policy, logits: NDArray[np.float64], rows: Rows) -> dict[str, Any]:
    names, row = rows.names, rows.of_class
    found: dict[str, Any] = {family.name: np.zeros(len(names)) for family in FAMILIES if family.axes == ("class",)}
    found |= {"equipoise_abstentions_total": 0.0, "confidences": []}
    for z in policy.calibration.logits(logits):
        decided = policy.decide_calibrated(z[None])
        p, label = decided.probabilities[0], int(decided.labels[0])
        found["equipoise_raw_predictions_total"][row[z.argmax()]] += 1
        if label >= 0:
            found["equipoise_decisions_total"][row[label]] += 1
            found["equipoise_decided_posterior_mass_total"][row[label]] += p[label]
        else:
            found["equipoise_abstentions_total"] += 1
        for k, flagged in enumerate(decided.flags[0]):
            found["equipoise_posterior_mass_total"][row[k]] += p[k]
            if flagged:
                found["equipoise_flags_total"][row[k]] += 1
                found["equipoise_flagged_posterior_mass_total"][row[k]] += p[k]
        found["confidences"].append(p.max())
    return found


@pytest.mark.parametrize("most", [100, 1])
@pytest.mark.parametrize("document", POLICIES)
@pytest.mark.parametrize("together", [1, 50])
def test_counts_are_those_of_a_plain_loop(
    bundle: Bundle, sums: Path, document: dict[str, Any], most: int, together: int
) -> None:
    rows, policy = Rows.of(bundle, most), bundle.policy(parse_policy(document))
    metrics = metrics_of(bundle, rows)
    logits = np.random.default_rng(1).normal(scale=3, size=(50, 3))
    for start in range(0, 50, together):
        z = policy.calibration.logits(logits[start : start + together])
        metrics.answered(policy, policy.decide_calibrated(z), z.argmax(axis=1), (0.0005, 0.003, 20.0))
    blocks, total = layout(len(rows.names)), added_up(sums, layout(len(rows.names)))
    by_hand = counted_by_hand(policy, logits, rows)
    for name, values in by_hand.items():
        if name.startswith("equipoise_") and "expected" not in name and "feedback" not in name:
            assert np.allclose(blocks.block(total, name), values), name
    confidence = blocks.block(total, "equipoise_confidence")
    cumulative = [sum(value <= edge for value in by_hand["confidences"]) for edge in (*CONFIDENCES, np.inf)]
    assert confidence[:-1].cumsum().tolist() == cumulative
    assert np.isclose(confidence[-1], sum(by_hand["confidences"]))
    stages = blocks.block(total, "equipoise_stage_duration_seconds")
    requests = 50 / together
    assert stages[:, -1].tolist() == pytest.approx([0.0005 * requests, 0.003 * requests, 20.0 * requests])
    assert stages[0, DURATIONS.index(0.0005)] == stages[1, DURATIONS.index(0.005)] == stages[2, -2] == requests


@pytest.mark.parametrize("most", [100, 2])
@pytest.mark.parametrize("quick", [True, False])
def test_expected_sums_follow_the_policies_that_decided(
    bundle: Bundle, sums: Path, most: int, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer adds what its own policy implies: a change in between is no drift."""
    if not quick:
        monkeypatch.setattr("service.expectations.MOST_AT_ONCE", 0)
    rows = Rows.of(bundle, most)
    metrics, blocks = metrics_of(bundle, rows), layout(len(rows.names))
    of_rows = None if rows.one_each else rows.of_class
    means = np.zeros((2, len(rows.names)))
    for n, document in enumerate(POLICIES, 1):
        policy = bundle.policy(parse_policy(document))
        z = policy.calibration.logits(np.random.default_rng(n).normal(size=(n, 3)))
        metrics.answered(policy, policy.decide_calibrated(z), z.argmax(axis=1), (0, 0, 0))
        means += n * expectation(bundle, policy, of_rows).mean[[0, 3]]
    assert bool(added_up(sums, blocks)[: Expectations(bundle, rows).size].any()) == quick
    metrics.settle()
    metrics.settle()
    total = added_up(sums, blocks)
    assert np.allclose(blocks.block(total, "equipoise_expected_raw_predictions_total"), means[0])
    assert np.allclose(blocks.block(total, "equipoise_expected_posterior_mass_total"), means[1])
    assert np.isclose(means.sum(), 2 * 10), "each answer has one raw prediction and a mass of 1"
    for family in EXPECTED:
        assert (blocks.block(total, family.name) >= 0).all()


def test_rows_put_the_rest_together(write_bundle: Callable[..., Path]) -> None:
    rule = {"kind": "recall", "targets": {"blue": 0.5}}
    rows = Rows.of(load_bundle(write_bundle(policy={"rule": rule})), 2)
    assert rows.names == ("red", "blue", "__other__")
    assert rows.of_class.tolist() == [0, 2, 1]
    assert rows.folded(np.array([1.0, 2.0, 4.0])).tolist() == [1.0, 4.0, 2.0]
    assert list(rows.own(np.array([1.0, 2.0, 4.0]))) == [("red", 1.0), ("blue", 4.0)]
    everything = Rows.of(load_bundle(write_bundle()), 3)
    assert everything.one_each
    assert list(everything.own(np.array([1.0, 2.0, 4.0]))) == [("red", 1.0), ("green", 2.0), ("blue", 4.0)]


def test_refusals_are_counted_together_as_they_would_be_one_by_one(bundle: Bundle, sums: Path) -> None:
    rows = Rows.of(bundle, 100)
    together, alone = metrics_of(bundle, rows), metrics_of(bundle, rows)
    seconds = [*np.random.default_rng(0).exponential(0.05, 300).tolist(), *DURATIONS, 0.0, 1e9]
    for took in seconds:
        together.refusal(took)
        alone.request("/predict", 503, took)
        alone.turned_away(1)
    together.settle()
    together.settle()

    def samples(metrics: Any) -> list[Any]:
        kept = (metrics._requests, metrics._durations, metrics._turned_away)
        found = [sample for one in kept for family in one.collect() for sample in family.samples]
        return [(s.name, s.labels, pytest.approx(s.value)) for s in found if not s.name.endswith("_created")]

    assert samples(together) == samples(alone)
    assert len(samples(alone)) > len(DURATIONS)
