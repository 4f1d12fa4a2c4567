"""Feedback: labels are never lost nor counted twice, ids are drawn as their probabilities say, quality is exact."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

import service.answers
import service.audits
import service.labels
from decision import Bundle
from decision.outcomes import Outcomes
from service import ids
from service.answers import Answers, AnswerStore
from service.audits import AuditStore
from service.database import Database
from service.feedback_schemas import QualityDocument
from service.labels import Fate, Label, LabelStore, Result
from service.observed import Observed
from service.outcomes import OutcomeReader
from service.schemas import change_of, uuid7
from service.store import PolicyStore
from service.tables import audits, draws, labels
from service.terms import PastTerms
from tests.conftest import CLASSES, noise, png
from tests.service.conftest import Server, put
from tests.service.test_answers import DAY, at
from tests.service.test_problems import check

POLICY = {"deployment_priors": {"red": 0.5, "green": 0.3, "blue": 0.2},
          "rule": {"kind": "recall", "targets": {"green": 0.5}, "confidence": 0.9}}  # fmt: skip


class Counts:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.first: list[tuple[Outcomes, Any]] = []
        self.late: list[Outcomes] = []

    def items(self, result: Result, n: int) -> None:
        self.results[result] += n

    def labelled(self, outcomes: Outcomes, delays: Any) -> None:
        self.first.append((outcomes, delays))

    def drawn(self, outcomes: Outcomes) -> None:
        self.late.append(outcomes)


class State:
    """The stores of one host."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self.database, self.bundle, self.counts = database, bundle, Counts()
        name = bundle.manifest.name
        self.policies = PolicyStore(database, name)
        self.answers = AnswerStore(database, name, bundle.manifest.version, len(bundle.classes))
        outcomes = OutcomeReader(database, bundle, PastTerms(bundle, self.policies))
        self.labels = LabelStore(database, bundle, self.answers, outcomes, self.counts)
        self.audits = AuditStore(database, bundle, self.answers, outcomes, self.counts)
        self.observed = Observed(bundle, outcomes)

    def give(self, n: int, *, age: float = 100.0, seed: int = 0, revision: int = 1) -> list[bytes]:
        """Store n answers, `age` seconds old and less, as `POLICY` decides them."""
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (n, 3)) - [0, 1, 2]
        policy = self.bundle.policy(POLICY)
        decisions = policy.decide_calibrated(logits)
        own = [at(time.time() - age * (1 - i / n), random.Random(1000 * seed + i)) for i in range(n)]
        calibrated = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        self.answers.append(Answers(tuple(own), np.full(n, revision), decisions.labels, calibrated, decisions.flags))
        return [UUID(one).bytes for one in own]

    def rows(self, table: sa.Table) -> list[Any]:
        with self.database.reading() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())

    def add(self, *given: tuple[bytes | None, str] | Label) -> list[str]:
        items = [one if isinstance(one, Label) else Label(*one) for one in given]
        return [fate.result for fate in self.labels.add(items, "tester")]


@pytest.fixture
def state(database: Database, bundle: Bundle) -> State:
    made = State(database, bundle)
    made.policies.append(0, change_of(bundle, bundle.policy(POLICY), "tester", "", "first"))
    return made


# Labels


def test_what_becomes_of_a_label(state: State) -> None:
    a, b, c, never = [*state.give(3), ids.parsed(uuid7())]
    assert state.add((a, "red"), (b, "blue"), (never, "red"), (None, "red")) == [
        "accepted", "accepted", "unknown", "unknown"]  # fmt: skip
    assert state.add((a, "red"), (b, "red"), (c, "green"), (c, "green"), (c, "red")) == [
        "duplicate", "conflict", "accepted", "duplicate", "conflict"]  # fmt: skip
    fates = state.labels.add([Label(b, "red"), Label(b, "red", replace=True), Label(b, "red", replace=True)], "second")
    assert fates == [
        Fate("conflict", "it is labelled 'blue'; \"replace\": true corrects that"),
        Fate("accepted", "replaces 'blue'"), Fate("duplicate"),
    ]  # fmt: skip
    assert state.add((b, "blue"), (b, "red")) == ["conflict", "duplicate"]
    rows = [(row.id, row.sequence, row.label, row.actor, row.design) for row in state.rows(labels)]
    assert rows == sorted([
        (a, 1, "red", "tester", "review"), (b, 1, "blue", "tester", "review"), (b, 2, "red", "second", "review"),
        (c, 1, "green", "tester", "review"),
    ])  # fmt: skip
    assert state.counts.results == {"accepted": 4, "unknown": 2, "duplicate": 4, "conflict": 4}
    assert sum(len(outcomes.truth) for outcomes, _ in state.counts.first) == 3, "a correction is no first label"


def test_what_is_counted_is_what_was_said_under_the_policy_of_the_answer(state: State) -> None:
    own = state.give(60)
    state.policies.append(1, change_of(state.bundle, state.bundle.policy(), "other", "", "change"))
    state.add(*((one, CLASSES[i % 3]) for i, one in enumerate(own)))
    (outcomes, delays), = state.counts.first  # fmt: skip
    policy = state.bundle.policy(POLICY)
    stored = state.answers.last(60)
    adjusted = stored.probabilities[::-1] * policy.deployment_priors / state.bundle.calibration_priors
    adjusted /= adjusted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outcomes.confidence, adjusted.max(axis=1))
    np.testing.assert_array_equal(outcomes.top, adjusted.argmax(axis=1))
    np.testing.assert_array_equal(outcomes.flags, stored.flags[::-1])
    np.testing.assert_array_equal(outcomes.labels, stored.labels[::-1])
    np.testing.assert_array_equal(outcomes.truth, np.arange(60) % 3)
    assert outcomes.can_flag.tolist() == [[False, True, False]] * 60
    assert (outcomes.weights == 0).all()
    np.testing.assert_allclose(delays, 100 * (1 - np.arange(60) / 60), atol=2)


def test_what_is_not_kept_says_why(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    now = time.time()
    kept = state.give(20, age=10)
    old, sampled = (UUID(at(now - 15 * DAY, rng)[:-4] + tail).bytes for tail in ("ffff", "0000"))
    state.answers.append(Answers((ids.text(sampled),), np.array([1]), np.array([0]), np.full((1, 3), 1 / 3),
                                 np.zeros((1, 3), np.bool_)))  # fmt: skip
    lost, future = (UUID(at(now + seconds, rng)).bytes for seconds in (-3600, 3600))
    assert state.add((old, "red"), (sampled, "red"), (lost, "red"), (future, "red")) == [
        "expired", "accepted", "unknown", "unknown"]  # fmt: skip
    monkeypatch.setattr(service.answers, "RETAINED", 10)
    assert state.add((lost, "red"), (kept[0], "red")) == ["not_kept", "accepted"]
    assert set(state.counts.results) == set(get_args(Result)) - {"duplicate", "conflict"}


def test_of_two_hosts_that_label_one_answer_exactly_one_is_accepted(new_url: Callable[[], str], bundle: Bundle) -> None:
    url = new_url()
    databases = [Database(url) for _ in range(4)]
    hosts = [State(database, bundle) for database in databases]
    own = hosts[0].give(40)
    start = threading.Barrier(len(hosts))

    def label(host: int) -> list[str]:
        start.wait()
        given = own if host % 2 else own[::-1]
        fates = [fate for part in range(0, 40, 10)
                 for fate in hosts[host].labels.add([Label(one, CLASSES[host % 3]) for one in given[part : part + 10]],
                                                    f"host {host}")]  # fmt: skip
        found = [fate.result for fate in fates]
        return found if host % 2 else found[::-1]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(label, range(4)))
    rows = hosts[0].rows(labels)
    assert [(row.id, row.sequence) for row in rows] == sorted((one, 1) for one in own)
    for i, one in enumerate(own):
        stored = next(row for row in rows if row.id == one)
        by_host = [result[i] for result in results]
        assert by_host.count("accepted") == 1
        assert stored.actor == f"host {by_host.index('accepted')}"
        assert {by_host[h] for h in range(4)} <= {"accepted", "conflict", "duplicate"}
        assert by_host[0] != "accepted" or by_host[3] == "duplicate", "both say red"
    for database in databases:
        database.close()


def test_a_host_that_comes_second_looks_again(state: State) -> None:
    """Another host's transaction holds one answer's label, then takes the other's: whoever took them in the order that
    they were sent would wait for it as it waits for them."""
    low, high = state.give(2)
    other = {"model": state.bundle.manifest.name, "sequence": 1, "label": "blue", "time": 0, "actor": "other",
             "source": "", "design": "review"}  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        with state.database.writing() as connection:
            connection.execute(sa.insert(labels).values(id=low, **other))
            second = pool.submit(state.add, (high, "red"), (low, "blue"))
            time.sleep(0.5)
            assert not second.done()
            connection.execute(sa.insert(labels).values(id=high, **other))
        assert second.result(20) == ["conflict", "duplicate"]
    assert {row.actor for row in state.rows(labels)} == {"other"}


# Audits


def test_an_id_is_handed_out_as_its_probability_says(state: State) -> None:
    own = state.give(400)
    first = state.audits.sample(60, "random", 3600)
    u = dict(zip(own, ids.random_numbers(own).tolist(), strict=True))
    assert set(first.ids) == first.new == {one for one in own if u[one] < 60 / 400}
    assert (first.population, first.first, first.last) == (400, own[0], own[-1])
    assert [row.probability for row in state.rows(audits)] == pytest.approx([60 / 400] * len(first.ids))

    second = state.audits.sample(60, "random", 3600)
    assert set(second.ids) == {one for one in own if u[one] < 120 / 400}
    assert second.new == set(second.ids) - set(first.ids)
    assert [row.probability for row in state.rows(audits)] == pytest.approx([120 / 400] * len(second.ids)), (
        "raised for the first too"
    )
    assert [row.number for row in state.rows(draws)] == [1, 2]


def test_overlapping_draws_leave_each_id_the_highest_probability_that_covered_it(state: State) -> None:
    old = state.give(300, age=7200, seed=1)
    young = state.give(300, age=600, seed=2)
    state.audits.sample(90, "stratified", 10_000)
    before = {row.id: row.probability for row in state.rows(audits)}
    state.audits.sample(90, "random", 3600)
    after = {row.id: row.probability for row in state.rows(audits)}
    covered = {*young, *(one for one in old if ids.milliseconds(one) > 1000 * (time.time() - 3600))}
    u = dict(zip(old + young, ids.random_numbers(old + young).tolist(), strict=True))
    p = max(after[one] for one in after.keys() - before.keys())
    for one in old + young:
        highest = max(before.get(one, 0.0), p if one in covered else 0.0)
        assert (one in after) == (one in before or (one in covered and u[one] < p))
        if one in after:
            assert after[one] == pytest.approx(highest)


def test_labelled_ids_are_not_handed_out_again_but_stay(state: State) -> None:
    own = state.give(200)
    first = state.audits.sample(40, "random", 3600)
    done = first.ids[: len(first.ids) // 2]
    state.add(*((one, "red") for one in done))
    assert {row.design for row in state.rows(labels)} == {"audit"}
    again = state.audits.sample(1, "random", 3600)
    assert set(again.ids) - again.new == set(first.ids) - set(done)
    assert set(done) <= {row.id for row in state.rows(audits)}
    assert not state.counts.late

    reviewed = [one for one in own if one not in first.ids and one not in again.ids]
    state.add(*((one, "green") for one in reviewed))
    assert Counter(row.design for row in state.rows(labels)) == {"audit": len(done), "review": len(reviewed)}
    rest = state.audits.sample(1000, "random", 3600)
    assert set(rest.ids) == set(own) - set(done) - set(reviewed)
    assert sum(len(outcomes.truth) for outcomes in state.counts.late) == len(reviewed), "now they are of an audit"


def test_two_hosts_draw_one_after_the_other(new_url: Callable[[], str], bundle: Bundle) -> None:
    url = new_url()
    databases = [Database(url) for _ in range(3)]
    hosts = [State(database, bundle) for database in databases]
    own = hosts[0].give(300)
    with ThreadPoolExecutor(3) as pool:
        samples = list(pool.map(lambda host: host.audits.sample(30, "random", 3600), hosts))
    assert [row.number for row in hosts[0].rows(draws)] == [1, 2, 3]
    new = [one for sample in samples for one in sample.new]
    assert len(set(new)) == len(new), "no id is new to two"
    u = ids.random_numbers(own)
    assert set(new) == {one for one, its in zip(own, u.tolist(), strict=True) if its < 90 / 300}
    for database in databases:
        database.close()


def test_a_draw_that_comes_second_begins_again(state: State) -> None:
    own = state.give(100)
    other = {
        "model": state.bundle.manifest.name,
        "number": 1,
        "model_version": state.bundle.manifest.version,
        "first": own[0],
        "last": own[-1],
        "design": "random",
        "rule": np.array([0.3, 0, 0, 0]).tobytes(),
        "time": 0,
    }
    with ThreadPoolExecutor(1) as pool:
        with state.database.writing() as connection:
            connection.execute(sa.insert(draws).values(other))
            second = pool.submit(state.audits.sample, 20, "random", 3600)
            time.sleep(0.5)
            assert not second.done()
        second.result(20)
    assert [row.number for row in state.rows(draws)] == [1, 2]
    assert [row.probability for row in state.rows(audits)] == pytest.approx([0.5] * len(state.rows(audits)))


def test_only_whole_times_and_the_newest_are_drawn_from(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state.audits.sample(10, "random", 3600).population == 0
    state.give(100, age=20 * DAY)
    recent = state.give(50, age=60, seed=1)
    assert set(state.audits.sample(1000, "random", 1000).ids) == set(recent)
    monkeypatch.setattr(service.audits, "MOST_READ", 20)
    found = state.audits.sample(1000, "stratified", 1000)
    assert (found.population, found.first) == (20, recent[-20])


def test_pruning_keeps_what_was_drawn_or_labelled_for_ninety_days(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.answers, "SAMPLED", b"\0\0")
    own = state.give(300, age=100)
    drawn = set(state.audits.sample(50, "random", 3600).ids)
    reviewed = [one for one in own if one not in drawn][:20]
    state.add(*((one, "red") for one in reviewed))
    now = time.time()
    assert sum(state.answers.prune(now + 20 * DAY)) == 300 - len(drawn) - 20
    assert {UUID(one).bytes for one in state.answers.last(999).ids} == drawn | set(reviewed)
    (whole,) = state.observed.cohorts(DAY, None)
    assert (whole.audit.drawn, whole.reviewed) == (len(drawn), 20)
    assert len(state.rows(draws)) == 1
    assert sum(state.answers.prune(now + 91 * DAY)) == len(drawn) + 20
    assert (state.rows(audits), state.rows(labels), state.rows(draws)) == ([], [], [])


# Quality


def by_hand(state: State, truth: dict[bytes, str], k: int, *, flag: bool, of_called: bool) -> float:
    """Recall, or precision, of class k from all labels of an audit, as sums of 1 / p over the rows of the store."""
    p = {row.id: row.probability for row in state.rows(audits)}
    stored = state.answers.last(10**6)
    above = below = 0.0
    for name, label, flags in zip(stored.ids, stored.labels.tolist(), stored.flags, strict=True):
        own = UUID(name).bytes
        called, true = bool(flags[k]) if flag else label == k, truth.get(own) == CLASSES[k]
        if own in p and (called if of_called else true):
            below += 1 / p[own]
            above += called * true / p[own]
    return above / below


@pytest.mark.parametrize("design", ["random", "stratified"])
def test_quality_is_that_of_the_labelled_audit(state: State, design: Any) -> None:
    own = state.give(1500)
    sample = state.audits.sample(400, design, 3600)
    rng = random.Random(3)
    truth = {one: CLASSES[rng.choice([0, 0, 1, 1, 2])] for one in sample.ids}
    state.add(*((one, "red" if i % 7 == 0 else truth[one]) for i, one in enumerate(sample.ids)))
    state.add(*(Label(one, label, replace=True) for one, label in truth.items()))  # the newest counts
    outside = [one for one in own if one not in truth][:100]
    state.add(*((one, "green") for one in outside))
    (whole,) = state.observed.cohorts(3600, None)
    for k, name in enumerate(CLASSES):
        one = whole.classes[name]
        assert one.label_recall is not None
        assert one.label_recall.value == pytest.approx(by_hand(state, truth, k, flag=False, of_called=False))
        if one.label_precision is not None:
            assert one.label_precision.value == pytest.approx(by_hand(state, truth, k, flag=False, of_called=True))
        assert one.label_recall.n == sum(label == name for label in truth.values())
        assert one.review.labels == (100 if name == "green" else 0)
        assert one.target == {"green": 0.5}.get(name)
    green, red = whole.classes["green"], whole.classes["red"]
    assert green.flag_recall is not None
    assert green.flag_precision is not None
    assert green.flag_recall.value == pytest.approx(by_hand(state, truth, 1, flag=True, of_called=False))
    assert green.flag_precision.value == pytest.approx(by_hand(state, truth, 1, flag=True, of_called=True))
    assert green.flag_recall.low < green.flag_recall.value < green.flag_recall.high
    assert (red.flag_recall, red.flag_precision) == (None, None), "nothing flags it"
    assert (whole.audit.drawn, whole.audit.labelled, whole.audit.completeness) == (len(truth), len(truth), 1.0)
    assert whole.audit.represents == pytest.approx(1500, rel=0.15)
    assert whole.reviewed == 100
    assert whole.calibration is not None
    assert whole.calibration.n == len(truth)
    assert whole.delay is not None
    assert whole.delay.n == len(truth) + 100
    assert 0 < whole.delay.median <= whole.delay.p90 <= 101


def test_cohorts_are_by_the_time_of_the_answer(state: State) -> None:
    state.policies.append(
        1, change_of(state.bundle, state.bundle.policy({"rule": {"kind": "argmax"}}), "x", "", "change")
    )
    young = state.give(50, age=10, seed=1, revision=2)
    old = state.give(50, age=3 * DAY, seed=2)[:1]
    state.add(*((one, "green") for one in young + old))
    by_revision = state.observed.cohorts(7 * DAY, "revision")
    assert [(one.cohort, one.reviewed) for one in by_revision] == [("2", 50), ("1", 1)]
    assert by_revision[0].classes["green"].review.flagged <= 50
    promised = [one.classes["green"].target for one in by_revision]
    assert promised == [None, 0.5], "what each revision promised, not what is promised now"
    by_day = state.observed.cohorts(7 * DAY, "day")
    days = {f"{datetime.fromtimestamp(ids.milliseconds(one) / 1000, UTC):%F}" for one in young + old}
    assert [one.cohort for one in by_day] == sorted(days, reverse=True)
    assert sum(one.reviewed for one in by_day) == 51
    (recent,) = state.observed.cohorts(3600, None)
    assert recent.reviewed == 50


def test_no_data_is_null(state: State) -> None:
    state.give(20)
    (whole,) = state.observed.cohorts(3600, None)
    assert (whole.audit.drawn, whole.audit.completeness, whole.calibration, whole.delay) == (0, None, None, None)
    for one in whole.classes.values():
        assert (one.flag_recall, one.flag_precision, one.label_recall, one.label_precision) == (None,) * 4
    assert state.observed.cohorts(3600, "day") == []


# Over HTTP


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    more = {}
    if request.param == "postgresql":
        more["EQUIPOISE_DATABASE_URL"] = request.getfixturevalue("postgres")("feedback").get_uri()
    started = Server(tiny_model, tmp_path_factory.mktemp("feedback"), **more).wait()
    with httpx.Client(base_url=started.url, timeout=30) as client:
        assert put(client, POLICY).status_code == 200
    yield started
    assert started.stop() == 0, started.log
    assert "Traceback" not in started.log


@pytest.fixture
def asked(served: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30, headers=served.token) as opened:
        yield opened


def predict(client: httpx.Client, n: int, seed: int = 0) -> list[dict[str, Any]]:
    return [client.post("/predict", content=png(noise(seed + i)), headers={"Content-Type": "image/png"}).json()
            for i in range(n)]  # fmt: skip


def test_an_answer_can_be_labelled_at_once(asked: httpx.Client) -> None:
    for i in range(5):
        (answer,) = predict(asked, 1, seed=i)
        one = asked.post("/feedback", json={"id": answer["id"], "label": "red", "source": "line 4"})
        assert (one.status_code, one.json()) == (200, {"results": [{"id": answer["id"], "result": "accepted"}]})
    again = asked.post("/feedback", json={"items": [{"id": answer["id"].upper(), "label": "red"},
                                                    {"id": answer["id"], "label": "blue"}]})  # fmt: skip
    assert [one["result"] for one in again.json()["results"]] == ["duplicate", "conflict"]
    assert again.json()["results"][0]["id"] == answer["id"].upper()
    assert "labelled 'red'" in again.json()["results"][1]["detail"]


def test_an_id_that_nobody_gave_is_unknown_after_a_moment(asked: httpx.Client) -> None:
    begun = time.perf_counter()
    found = asked.post("/feedback", json={"items": [{"id": uuid7(), "label": "red"}, {"id": "no id", "label": "red"}]})
    assert [one["result"] for one in found.json()["results"]] == ["unknown", "unknown"]
    assert 2 < time.perf_counter() - begun < 8


def test_an_audit_from_drawing_to_quality(asked: httpx.Client) -> None:
    answers = {one["id"]: one for one in predict(asked, 60, seed=100)}
    time.sleep(1.5)
    sample = asked.get("/audit-sample", params={"n": 10_000, "design": "stratified", "window": "1h"}).json()
    assert set(answers) <= {one["id"] for one in sample["ids"]}, "more than there are: all"
    assert {frozenset(one) for one in sample["ids"]} == {frozenset({"id", "time", "pending"})}
    assert sample["n"] == 10_000
    assert sample["new"] == sum(not one["pending"] for one in sample["ids"])
    again = asked.get("/audit-sample", params={"window": "1h"})
    assert again.headers["cache-control"] == "no-store"
    assert {one["pending"] for one in again.json()["ids"]} == {True}

    def truth(name: str) -> str:
        return CLASSES[int(name[-1], 16) % 3]

    items = [{"id": one["id"], "label": truth(one["id"])} for one in sample["ids"]]
    results = asked.post("/feedback", json={"items": items}).json()["results"]
    assert [one["id"] for one in results] == [one["id"] for one in items]
    assert {one["result"] for one in results} == {"accepted"}
    quality = asked.get("/quality", params={"window": "1h"}).json()
    QualityDocument.model_validate(quality)
    (whole,) = quality["cohorts"]
    ours = {one["id"]: answers[one["id"]] for one in sample["ids"] if one["id"] in answers}
    positives = [one for name, one in ours.items() if truth(name) == "green"]
    green = whole["classes"]["green"]
    assert green["target"] == 0.5
    if len(ours) == len(items):  # where nothing else was drawn
        assert green["flag_recall"]["value"] == pytest.approx(np.mean(["green" in one["flags"] for one in positives]))
        assert green["label_recall"]["value"] == pytest.approx(np.mean([one["label"] == "green" for one in positives]))
    assert whole["audit"]["completeness"] == 1
    assert quality["policy_revision"] == asked.get("/config").json()["revision"]
    assert asked.get("/quality", params={"by": "revision"}).json()["cohorts"][0]["cohort"] == str(
        quality["policy_revision"]
    )


def test_of_many_clients_that_label_one_answer_one_is_accepted(asked: httpx.Client) -> None:
    (answer,) = predict(asked, 1, seed=999)
    bodies = [{"id": answer["id"], "label": CLASSES[i % 3]} for i in range(12)]
    with ThreadPoolExecutor(12) as pool:
        results = [one.json()["results"][0]["result"] for one in pool.map(
            lambda body: httpx.post(f"{asked.base_url}/feedback", json=body, headers=asked.headers, timeout=30), bodies
        )]  # fmt: skip
    assert Counter(results) == {"accepted": 1, "duplicate": 3, "conflict": 8}


FINE = {"id": "0199f2a0-0000-7000-8000-000000000000", "label": "red"}


@pytest.mark.parametrize(
    ("body", "status", "pointer", "says"),
    [
        ({**FINE, "label": "purple"}, 422, "/label", "unknown class; expected one of ['red', 'green', 'blue']"),
        ({"items": [FINE, {**FINE, "label": ""}]}, 422, "/items/1/label", "nothing of this request is stored"),
        ({"items": []}, 422, "/items", "at least one label"),
        ({"items": [FINE] * 1001}, 422, "/items", "at most 1,000 labels"),
        ({"items": FINE}, 422, "/items", "a list"),
        ({"items": [FINE, 3]}, 422, "/items/1", "an object"),
        ({"items": [FINE], "label": "red"}, 422, "/label", "no such field"),
        ({"id": FINE["id"]}, 422, "/label", "a value"),
        ({**FINE, "lable": "red"}, 422, "/lable", "no such field"),
        ({**FINE, "id": 7}, 422, "/id", "string"),
        ({**FINE, "id": "x" * 101}, 422, "/id", "100"),
        (rb'{"id": "\ud800", "label": "red"}', 422, "/id", "unicode"),
        ({**FINE, "replace": "yes"}, 422, "/replace", "boolean"),
        ({**FINE, "source": "a\nb"}, 422, "/source", "printable"),
        ([FINE], 422, "", "an object"),
        (b"{", 400, None, "a JSON document"),
        (b'{"id": 1, "id": 2}', 400, None, "twice"),
        (b" " * (1 << 20) + b"{}", 413, None, "1,048,576"),
    ],
)
def test_feedback_that_cannot_be(
    server: Server, client: httpx.Client, body: Any, status: int, pointer: str | None, says: str
) -> None:
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    check(client.post("/feedback", **sent, headers=server.token), status, says, pointer)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/audit-sample?n=0", "n from 1 to 10000"),
        ("/audit-sample?n=10001", "n from 1 to 10000"),
        ("/audit-sample?design=best", "random or stratified"),
        ("/audit-sample?window=15d", "14d at most"),
        ("/audit-sample?window=1w", "like 30m, 24h or 7d"),
        ("/audit-sample?windw=1h", "got 'windw'"),
        ("/quality?window=91d", "90d at most"),
        ("/quality?window=-1d", "like 30m"),
        ("/quality?window=0d", "like 30m"),
        ("/quality?by=class", "revision or day"),
        ("/quality?n=3", "got 'n'"),
        ("/feedback?dry_run=true", "no query parameter"),
    ],
)
def test_questions_that_cannot_be(server: Server, client: httpx.Client, path: str, says: str) -> None:
    method = "POST" if path.startswith("/feedback") else "GET"
    check(client.request(method, path, headers=server.token), 400, says)


def test_the_description_has_the_routes(client: httpx.Client) -> None:
    described = client.get("/docs.json").json()
    for path, method in (("/feedback", "post"), ("/audit-sample", "get"), ("/quality", "get")):
        assert "200" in described["paths"][path][method]["responses"]
    assert "$defs" not in str(described["paths"]["/feedback"])
