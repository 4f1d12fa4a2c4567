"""The policy while it runs: in force on every worker before PUT returns, kept through kills and restarts."""

import dataclasses
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from decision import load_bundle, save_bundle
from tests.conftest import channel_means, holdout, manifest, noise, png
from tests.service.conftest import Server, put, scrape, total

GOOD = png(noise(0))
ARGMAX = {"deployment_priors": "uniform", "rule": {"kind": "argmax"}, "abstain_below": 0.0}


def stored(server: Server) -> list[int]:
    with sqlite3.connect(server.state / "equipoise.db") as database:
        return [row[0] for row in database.execute("SELECT revision FROM revisions ORDER BY revision")]


def test_a_change_is_a_new_revision_with_its_reason(client: httpx.Client) -> None:
    before = client.get("/config")
    answer = put(client, ARGMAX, reason="balanced site")
    after = client.get("/config")

    assert answer.status_code == 200
    assert answer.json() == after.json()
    assert answer.headers["etag"] == after.headers["etag"] == f'"{after.json()["revision"]}"'
    assert after.json()["revision"] == before.json()["revision"] + 1
    assert after.json()["policy"] == ARGMAX
    assert after.json()["thresholds"] == pytest.approx(dict.fromkeys(("red", "green", "blue"), 1 / 3))
    assert after.json()["certificates"] == []
    assert (after.json()["actor"], after.json()["reason"]) == ("admin", "balanced site")
    assert after.json()["time"].startswith("20")


def test_a_recall_policy_answers_with_its_certificates(client: httpx.Client, tiny_model: Path) -> None:
    document = {"deployment_priors": "uniform", "rule": {"kind": "recall", "targets": {"red": 0.6}}}
    answer = put(client, document).json()
    policy = load_bundle(tiny_model).policy(document)
    (expected,) = policy.certificates
    (came,) = answer["certificates"]
    assert came == dataclasses.asdict(expected) | {"statement": str(expected)}
    assert came["statement"].startswith("recall of red ≥ 0.6 with confidence 0.95, from 7 held-out images, threshold")
    assert answer["thresholds"] == policy.thresholds == {"red": came["threshold"]}
    assert client.get("/config").json() == answer

    flagged = client.post("/predict?explain=true", content=png(np.full((4, 6, 3), (255, 0, 0), np.uint8))).json()
    assert (flagged["label"], flagged["flags"]) == ("red", ["red"])
    assert flagged["explanation"]["ratios"]["red"] == flagged["probabilities"]["red"] / came["threshold"]


def test_costs_move_the_label(client: httpx.Client) -> None:
    grey = png(np.full((4, 6, 3), 128, np.uint8))
    for dear in ("red", "green", "blue"):
        costs = {dear: dict.fromkeys({"red", "green", "blue"} - {dear}, 1000.0)}
        answer = put(client, {"deployment_priors": "uniform", "rule": {"kind": "cost", "costs": costs}})
        assert (answer.json()["thresholds"], answer.json()["certificates"]) == ({}, [])
        assert client.post("/predict", content=grey).json()["label"] == dear


def test_a_dry_run_validates_and_stores_nothing(client: httpx.Client) -> None:
    before = client.get("/config").json()
    document = {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.05}}}
    answer = put(client, document, dry_run="true")
    assert answer.status_code == 200
    assert answer.json()["thresholds"] == {"blue": 0.05}
    assert (answer.json()["dry_run"], answer.json()["revision"]) == (True, before["revision"])
    assert "dry_run" not in before
    assert (
        put(client, {"rule": {"kind": "thresholds", "thresholds": {"pink": 0.05}}}, dry_run="true").status_code == 422
    )
    assert client.get("/config").json() == before


def test_flags_and_abstention_reach_the_answer(client: httpx.Client) -> None:
    assert put(client, {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.01, "green": 0.02}}}).status_code == 200
    answer = client.post("/predict", content=GOOD).json()
    assert set(answer["flags"]) <= {"green", "blue"}
    assert answer["flags"]
    assert put(client, {"rule": {"kind": "argmax"}, "abstain_below": 1.0}).status_code == 200
    answer = client.post("/predict", content=GOOD).json()
    assert (answer["label"], answer["abstained"], answer["flags"]) == (None, True, [])


def worker_behind(server: Server, client: httpx.Client) -> int:
    """The worker that serves this client's open connection."""
    client.get("/livez")
    stream = client._transport._pool.connections[0]._connection._network_stream
    port = stream.get_extra_info("client_addr")[1]
    for pid in server.worker_pids():
        if any(c.raddr and c.raddr[1] == port for c in psutil.Process(pid).net_connections("tcp")):
            return pid
    raise AssertionError("no worker has this connection")


@pytest.fixture
def one_client_a_worker(server: Server) -> Iterator[list[httpx.Client]]:
    with ExitStack() as stack:
        found: dict[int, httpx.Client] = {}
        for _ in range(200):
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))
            found.setdefault(worker_behind(server, client), client)
            if len(found) == server.workers:
                yield list(found.values())
                return
        raise AssertionError("one worker took 200 connections")


def test_the_very_next_request_on_either_worker_answers_under_the_new_revision(
    one_client_a_worker: list[httpx.Client],
) -> None:
    for turn in range(60):
        answer = put(one_client_a_worker[turn % 2], ARGMAX | {"abstain_below": turn / 100})
        revision = answer.json()["revision"]
        for reader in one_client_a_worker:
            assert reader.post("/predict", content=GOOD).json()["policy_revision"] == revision
            assert reader.get("/config").json() == answer.json()


def test_of_many_writers_with_one_revision_one_wins(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        revision = client.get("/config").json()["revision"]
    statuses: list[int] = []

    def write(n: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as own:
            statuses.append(put(own, ARGMAX | {"abstain_below": n / 100}, revision).status_code)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(statuses) == {200: 1, 412: 11}
    assert stored(server) == list(range(1, revision + 2))


def test_a_killed_worker_loses_no_accepted_change_and_no_count(start: Callable[..., Server]) -> None:
    server = start().wait()
    answered, sent, accepted = Counter[str](), Counter[str](), []
    done = threading.Event()

    def predict(seed: int) -> None:
        rng = random.Random(seed)
        client = httpx.Client(base_url=server.url, timeout=30)
        while not done.is_set():
            if rng.random() < 0.1:  # new connections reach both workers
                client.close()
                client = httpx.Client(base_url=server.url, timeout=30)
            sent["images"] += 1
            try:
                answered["images"] += client.post("/predict", content=GOOD).status_code == 200
            except httpx.TransportError:
                answered["lost"] += 1
        client.close()

    def change() -> None:
        while not done.is_set():
            try:
                with httpx.Client(base_url=server.url, timeout=30) as client:
                    answer = put(client, ARGMAX | {"abstain_below": len(accepted) % 50 / 100})
                    if answer.status_code == 200:
                        accepted.append(answer.json()["revision"])
            except httpx.TransportError:
                answered["lost puts"] += 1

    threads = [threading.Thread(target=predict, args=(seed,)) for seed in range(4)] + [threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    victim = min(server.worker_pids())
    psutil.Process(victim).send_signal(signal.SIGKILL)
    time.sleep(0.2)
    alive = total(scrape(server.url), "equipoise_workers")
    time.sleep(3)
    done.set()
    for thread in threads:
        thread.join()

    assert alive == 1, "a dead worker leaves the gauge at the next scrape"
    assert len(accepted) > 5, "few, as each is previewed first"
    assert answered["images"] > 100
    assert set(accepted) <= set(stored(server))
    assert stored(server) == list(range(1, max(stored(server)) + 1))
    samples = scrape(server.url)
    counted = total(samples, "equipoise_decisions_total") + total(samples, "equipoise_abstentions_total")
    assert answered["images"] <= counted <= sent["images"]
    assert counted == total(samples, "equipoise_raw_predictions_total")

    last = stored(server)[-1]
    with httpx.Client(base_url=server.url) as client:
        policy = client.get("/config").json()
        assert policy["revision"] == last
    assert server.stop() == 0
    again = start(state=server.state).wait()
    with httpx.Client(base_url=again.url) as client:
        assert client.get("/config").json() == policy
        assert client.post("/predict", content=GOOD).json()["policy_revision"] == last


def test_counters_equal_the_requests_sent(start: Callable[..., Server]) -> None:
    server = start().wait()
    before = scrape(server.url)
    assert total(before, "equipoise_decisions_total") == 0
    assert {dict(labels)["class"] for name, labels in before if name == "equipoise_decisions_total"} == {
        "red", "green", "blue",
    }  # fmt: skip
    labels: Counter[str] = Counter()
    for seed in range(120):  # a connection each, so that both workers count
        labels[httpx.post(f"{server.url}/predict", content=png(noise(seed))).json()["label"]] += 1
    samples = scrape(server.url)
    for name in ("red", "green", "blue"):
        assert total(samples, "equipoise_decisions_total", **{"class": name}) == labels[name]
    assert total(samples, "equipoise_raw_predictions_total") == 120
    assert total(samples, "equipoise_requests_total", route="/predict", status="200") == 120
    assert total(samples, "equipoise_workers", provider="CPUExecutionProvider") == 2
    assert total(samples, "equipoise_policy_revision") == 1
    assert len({dict(key)["class"] for n, key in samples if n == "equipoise_policy_prior_ratio"}) == 3


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        made = manifest(**changes)
        return save_bundle(tmp_path / "m", made, network=channel_means(), holdout=holdout(), report="").parent

    return write


def test_another_bundle_version_takes_the_last_policy_over(start: Callable[..., Server], models: Any) -> None:
    server = start(model=models(), workers=1).wait()
    document = {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.2}}}
    with httpx.Client(base_url=server.url) as client:
        assert put(client, document).status_code == 200
    server.stop()
    with httpx.Client(base_url=start(model=models(seed=1), workers=1).wait().url) as client:
        config = client.get("/config").json()
    assert (config["revision"], config["actor"], config["thresholds"]) == (3, "system", {"blue": 0.2})
    assert "revision 2, compiled for tiny:" in config["reason"]


def test_a_bundle_without_a_class_falls_back_to_its_default_and_says_why(
    start: Callable[..., Server], models: Any
) -> None:
    server = start(model=models(), workers=1).wait()
    with httpx.Client(base_url=server.url) as client:
        assert put(client, {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.2}}}).status_code == 200
    server.stop()
    names = ("red", "green", "violet")
    other = models(
        classes=names, training_priors=dict(zip(names, (0.7, 0.2, 0.1), strict=True)),
        calibration_priors=dict(zip(names, (0.6, 0.3, 0.1), strict=True)),
        calibration={"temperature": 1.0, "bias": dict.fromkeys(names, 0.0)},
    )  # fmt: skip
    with httpx.Client(base_url=start(model=other, workers=1).wait().url) as client:
        config = client.get("/config").json()
    assert (config["revision"], config["policy"]["rule"]["kind"]) == (3, "priors")
    assert "/rule/thresholds/blue: unknown class" in config["reason"]


def test_a_reason_is_one_printable_line(client: httpx.Client) -> None:
    assert put(client, {}, dryrun="true").status_code == 400
    for reason in ("two\nlines", "x" * 501, "\x1b[31m"):
        assert put(client, {}, reason=reason).status_code == 400
    assert put(client, {}, reason="größer als erwartet").json()["reason"] == "größer als erwartet"


def test_with_the_store_broken_predictions_go_on_and_writes_answer_503(start: Callable[..., Server]) -> None:
    server = start().wait()
    with httpx.Client(base_url=server.url) as client:
        assert put(client, ARGMAX).status_code == 200
        for _ in range(30):  # a connection each: both workers have read it
            assert httpx.post(f"{server.url}/predict", content=GOOD).json()["policy_revision"] == 2
        for path in server.state.glob("equipoise.db*"):
            path.write_bytes(b"not a database" * 1000)
        answer = put(client, {})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "urn:equipoise:problem:store-unavailable"
        for _ in range(20):
            answer = httpx.post(f"{server.url}/predict", content=GOOD)
            assert (answer.status_code, answer.json()["policy_revision"]) == (200, 2)


def test_a_writer_killed_between_storing_and_sharing_is_healed_by_the_next(start: Callable[..., Server]) -> None:
    server = start().wait()
    with sqlite3.connect(server.state / "equipoise.db") as database:
        database.execute(
            "INSERT INTO revisions SELECT model, 2, time, 'admin', 'stored, not shared', model_version, policy, "
            "thresholds, 'change', certificates, preview FROM revisions WHERE revision = 1"
        )
    with httpx.Client(base_url=server.url) as client:
        assert put(client, ARGMAX, 1).status_code == 412
        assert client.get("/config").json()["reason"] == "stored, not shared"
        assert put(client, ARGMAX, 2).json()["revision"] == 3


def test_a_start_that_is_refused_changes_nothing(start: Callable[..., Server], models: Any, tmp_path: Path) -> None:
    server = start(model=models(), workers=1).wait()
    broken = save_bundle(tmp_path / "b", manifest(seed=9), network=b"no network", holdout=holdout(), report="")
    second = start(model=broken, state=server.state, workers=1)
    assert second.process.wait(60) == 2
    assert stored(server) == [1]
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/config").json()["revision"] == 1


def test_two_services_may_share_a_state_folder(start: Callable[..., Server], models: Any) -> None:
    first = start(model=models(), workers=1).wait()
    httpx.post(f"{first.url}/predict", content=GOOD)
    other = start(model=models(name="other"), state=first.state, workers=1).wait()
    assert total(scrape(first.url), "equipoise_decisions_total") == 1
    assert total(scrape(other.url), "equipoise_decisions_total") == 0


def test_no_worker_outlives_its_arbiter(start: Callable[..., Server]) -> None:
    server = start().wait()
    workers = [psutil.Process(pid) for pid in server.worker_pids()]
    server.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(gone), alive) == (2, [])
