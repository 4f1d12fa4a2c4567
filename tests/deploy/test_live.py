"""A real Prometheus over real services of two workers: one, then two, through a kill, a policy change and a restart."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from decision import load_bundle, save_bundle
from decision.outcomes import Outcomes
from decision.quality import Calls
from decision.weighted import ClassFigures
from deploy import prometheus as written
from deploy.metrics import METRICS, SERIES
from tests.conftest import channel_means, holdout, manifest
from tests.deploy.conftest import free_port, watching
from tests.deploy.live import REVIEWED, SECONDS, TIMING, Live, Moment, change, kill, start, wait_until_scraped
from tests.deploy.recompute import Recomputed
from tests.deploy.replicas import Labels
from tests.deploy.sent import Sums, labelled

FIRST = {"deployment_priors": "calibration", "abstain_below": 0.9,
         "rule": {"kind": "recall", "targets": {"blue": 0.5}, "confidence": 0.9}}  # fmt: skip
SECOND = FIRST | {
    "rule": {"kind": "recall", "targets": {"blue": 0.5, "green": 0.5}, "confidence": 0.9},
}
MOMENTS = ("one service", "two services, one worker killed", "one service restarted")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    return save_bundle(models, manifest(policy=FIRST), network=channel_means(), holdout=holdout(),
                       report="<html>").parent  # fmt: skip


@pytest.fixture(scope="module")
def live(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """With what was seen at each moment; the first service goes on."""
    folder, port = tmp_path_factory.mktemp("live"), free_port()
    with ExitStack() as stack:
        one = start(model, folder / "one", free_port())
        stack.callback(one.stop)
        targets = [f"127.0.0.1:{server_port}" for server_port in (one.port, port)]
        state = Live(one, stack.enter_context(watching(folder, targets, TIMING)), load_bundle(model))
        wait_until_scraped(state.prometheus, one.wait())
        state.send(one, FIRST, 150)
        change(one, SECOND)
        state.send(one, SECOND, 150)
        state.audit(one)
        state.look(MOMENTS[0])

        two = start(model, folder / "two", port)
        stack.callback(two.stop)
        kill(one)
        change(two.wait(), SECOND)
        wait_until_scraped(state.prometheus, two)
        for server in (one, two):
            state.send(server, SECOND, 100)
        state.look(MOMENTS[1])

        assert two.stop() == 0
        again = start(model, folder / "two", port).wait()
        stack.callback(again.stop)
        wait_until_scraped(state.prometheus, again)
        for server in (one, again):
            state.send(server, SECOND, 60)
        state.look(MOMENTS[2])
        yield state


@pytest.fixture(params=MOMENTS)
def moment(request: pytest.FixtureRequest, live: Live) -> Moment:
    return live.moments[request.param]


def added(moment: Moment) -> Sums:
    """What both services counted, by metric and what tells its series apart."""
    found: Sums = Counter()
    for one in moment.series:
        of = dict(one.labels)
        key = " ".join(of[name] for name in ("class", "design", "bin", "result") if name in of)
        found[one.name.removeprefix("equipoise_"), key] += one.added()
    return found


WHOLE = ("raw_predictions_total", "decisions_total", "flags_total", "abstentions_total", "confidence_count",
         "feedback_items_total", "feedback_labels_total", "feedback_called_total",
         "feedback_true_positives_total")  # fmt: skip
APPROXIMATE = {"calibration_confidence_total": 2e-3, "confidence_sum": 1e-5}
"""Kept probabilities have 16 bits; the network computes in 32."""


def test_counters_equal_what_was_sent(moment: Moment) -> None:
    found = added(moment)
    for sums in (moment.counts, moment.labels):
        for (name, key), value in sums.items():
            if name in WHOLE:
                assert found[name, key] == value, (name, key)
            else:
                rel = APPROXIMATE.get(name, 1e-9 if "mass" not in name or "expected" in name else 1e-5)
                assert found[name, key] == pytest.approx(value, rel=rel, abs=1e-9), (name, key)
    assert sum(value for (name, _), value in found.items() if name == "raw_predictions_total") > 0


def test_rules_equal_numpy(moment: Moment) -> None:
    """Each at its own evaluation, from the samples that it saw."""
    for group in written.rule_groups(TIMING):
        at, found = moment.recorded[group.name]
        wanted = Recomputed(moment.series, at, at, SECONDS).rules
        for record in (rule.record for rule in group.rules):
            values, right = found.get(record, {}), wanted.get(record, {})
            assert values.keys() == right.keys(), record
            np.testing.assert_allclose([values[of] for of in right], list(right.values()), rtol=1e-6, atol=1e-9,
                                       err_msg=record)  # fmt: skip


def test_rules_have_values(live: Live) -> None:
    recorded = {record for _, rules in live.moments[MOMENTS[-1]].recorded.values() for record in rules}
    missing = {rule.record for group in written.rule_groups(TIMING) for rule in group.rules} - recorded
    assert missing == set()


def by_class(values: dict[Labels, float]) -> dict[str, float]:
    """Of a rule with one series a class."""
    found = {dict(of)["class"]: value for of, value in values.items()}
    assert len(found) == len(values)
    return found


EDGE = 0.05


def test_counts_of_rules_are_the_requests(live: Live) -> None:
    """Where the window holds all of them; increase() goes on from the last scrape to the evaluation.

    That is less than 1% where scrapes come on time, and more where a busy machine delays them: EDGE.
    """
    moment = live.moments[MOMENTS[-1]]
    _, found = moment.recorded["equipoise-drift-24h"]
    for metric in ("raw_predictions", "decisions", "flags", "posterior_mass", "expected_raw_predictions"):
        counts = {name: moment.counts[f"{metric}_total", name] for name in live.bundle.classes}
        assert by_class(found[f"model_class:equipoise_{metric}:increase24h"]) == pytest.approx(counts, rel=EDGE), metric
    (n,) = found["model:equipoise_raw_predictions:increase24h"].values()
    assert n == pytest.approx(moment.counts["confidence_count", ""], rel=EDGE)


def observed_recall(live: Live) -> ClassFigures:
    """Of what was called by whichever policy decided it: flagged, or labelled where that could not flag it."""
    calls = []
    for sent in live.sent:
        policy, _, d = sent.decided(live.bundle)
        weights = np.array([live.weights.get(answer["id"], 0.0) for answer in sent.answers])
        outcomes = Outcomes(
            labels=d.labels, flags=d.flags, can_flag=np.broadcast_to(policy.rule.can_flag, d.flags.shape),
            targets=np.zeros(d.flags.shape),
            top=d.probabilities.argmax(axis=1), confidence=d.probabilities.max(axis=1), weights=weights,
            known=weights > 0, truth=sent.truth,
        )  # fmt: skip
        calls.append(Calls.of(outcomes, outcomes.called, np.ones_like(d.flags)))
    first, *others = calls
    return sum(others, first).recall()


def test_observed_recall_is_that_of_the_labels(live: Live) -> None:
    _, found = live.moments[MOMENTS[-1]].recorded["equipoise-quality-24h"]
    right = observed_recall(live).intervals
    for of, value in found["model_class:equipoise_observed_recall:ratio24h"].items():
        k = live.bundle.classes.index(dict(of)["class"])
        assert value == pytest.approx(right.value[k], rel=1e-9)
        for side, limit in (("lower", right.low), ("upper", right.high)):
            bound = found[f"model_class:equipoise_observed_recall:wilson_{side}24h"][of]
            assert bound == pytest.approx(limit[k], abs=0.01)
        if dict(of)["class"] == "blue":  # the one that both policies could flag
            exact = live.quality["classes"]["blue"]["flag_recall"]
            assert value == pytest.approx(exact["value"], rel=1e-9)
            assert (right.low[k], right.high[k]) == pytest.approx((exact["low"], exact["high"]), abs=1e-6)


def test_promised_recall_is_that_of_the_answers_own_policies(live: Live) -> None:
    """Blue had a target from the start, green only in the second policy, red never."""
    _, found = live.moments[MOMENTS[-1]].recorded["equipoise-quality-24h"]
    target, share = (by_class(found[f"model_class:equipoise_observed_recall:{part}24h"])
                     for part in ("target", "targeted"))  # fmt: skip
    assert target == pytest.approx({"blue": 0.5, "green": 0.5}, rel=1e-9)
    assert (share["blue"], share["red"]) == pytest.approx((1, 0))
    assert 0 < share["green"] < 1


def test_labels_of_reviewed_flags_leave_recall_alone(live: Live) -> None:
    without = labelled(live.bundle, live.sent, live.weights, set())
    labels = live.moments[MOMENTS[0]].labels
    assert sum(labels["feedback_labels_total", f"{name} review"] for name in live.bundle.classes) == REVIEWED
    assert all(labels[key] == value for key, value in without.items() if key[0].startswith("feedback_audit"))


def test_alerts_are_of_the_replica_that_was_not_there(live: Live) -> None:
    """None is on drift; what audited labels say of made-up probabilities is theirs."""
    down, others = "EquipoiseTargetDown", {"EquipoiseCalibrationOff"}
    firing = [set(live.moments[name].firing) - others for name in MOMENTS]
    assert firing == [{down}, set(), set()]
    assert [live.moments[name].failures for name in MOMENTS] == [[], [], []]


def test_metrics_are_those_of_the_table(live: Live) -> None:
    found: dict[str, set[frozenset[str]]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{live.server.url}/metrics").text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, set()).add(frozenset(sample.labels) - {"le"})
    assert found.keys() == SERIES
    assert found == {name: {frozenset(metric.labels)} for metric in METRICS for name in metric.series()}
