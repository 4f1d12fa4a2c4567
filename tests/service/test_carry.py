"""The last policy over bundles, databases and hosts: who is right, and that nothing is lost without a word."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision import Bundle, load_bundle, save_bundle
from service.carry import carried, restored
from service.database import Database
from service.host import HostPolicy
from service.kept import Kept
from service.policies import PolicyInForce, first_in_force
from service.schemas import change_of
from service.store import Change, PolicyStore, Revision, StaleError
from tests.conftest import channel_means, holdout, manifest
from tests.service.conftest import Server, put

OTHER = ("red", "green", "violet")
BLUE = {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.2}}}


def bundle(folder: Path, **changes: Any) -> Bundle:
    made = manifest(**changes)
    return load_bundle(save_bundle(folder, made, network=channel_means(), holdout=holdout(), report=""))


@pytest.fixture
def ours(tmp_path: Path) -> Bundle:
    return bundle(tmp_path / "models")


@pytest.fixture
def without_blue(tmp_path: Path) -> Bundle:
    return bundle(
        tmp_path / "models", classes=OTHER, seed=5, training_priors=dict(zip(OTHER, (0.7, 0.2, 0.1), strict=True)),
        calibration_priors=dict(zip(OTHER, (0.6, 0.3, 0.1), strict=True)),
        calibration={"temperature": 1.0, "bias": dict.fromkeys(OTHER, 0.0)},
    )  # fmt: skip


@pytest.fixture
def store(database: Database) -> PolicyStore:
    return PolicyStore(database, "tiny")


def changed(store: PolicyStore, bundle: Bundle, document: Any, who: str = "anna") -> Revision:
    last = store.last()
    return store.append(last.revision if last else 0, change_of(bundle, bundle.policy(document), who, "", "change"))


def test_a_policy_comes_back_with_the_bundle_that_it_was_for(
    store: PolicyStore, ours: Bundle, without_blue: Bundle
) -> None:
    first = carried(store, ours, None)
    policy = changed(store, ours, BLUE)
    fallback = carried(store, without_blue, None)
    again = carried(store, bundle(without_blue.path.parent.parent, classes=OTHER, seed=6, **_like(without_blue)), None)
    back = carried(store, ours, None)
    assert [e.event for e in (first, policy, fallback, again, back)] == [
        "first",
        "change",
        "fallback",
        "fallback",
        "carried",
    ]
    assert back.policy == policy.policy
    assert back.reason.startswith("revision 2, compiled for tiny:")
    assert carried(store, ours, None) == back


def _like(other: Bundle) -> dict[str, Any]:
    whole = other.manifest.model_dump()
    return {name: whole[name] for name in ("training_priors", "calibration_priors", "calibration")}


def test_what_was_chosen_after_a_fallback_is_what_goes_on(
    store: PolicyStore, ours: Bundle, without_blue: Bundle
) -> None:
    carried(store, ours, None)
    changed(store, ours, BLUE)
    carried(store, without_blue, None)
    chosen = changed(store, without_blue, {"rule": {"kind": "argmax"}})
    assert carried(store, ours, None).policy == chosen.policy


def test_a_host_of_another_database_follows_this_one(store: PolicyStore, ours: Bundle) -> None:
    carried(store, ours, None)
    theirs = changed(store, ours, BLUE)
    stranger = Kept(replace(theirs, revision=50, policy={}, time="2999"), "another database")
    assert restored(store, ours, stranger) == theirs


@pytest.mark.parametrize("later", ["ours", "the database's"])
@pytest.mark.parametrize("number", [2, 7])
def test_a_database_that_went_back_gets_the_later_policy_under_a_new_number(
    store: PolicyStore, ours: Bundle, later: str, number: int
) -> None:
    carried(store, ours, None)
    theirs = changed(store, ours, BLUE)
    own = replace(theirs, revision=number, policy={"rule": {"kind": "argmax"}}, actor="berta",
                  time="2999" if later == "ours" else "1999")  # fmt: skip
    entry = restored(store, ours, Kept(own, store.database.id))
    assert entry.revision == number + 1
    assert entry.policy["rule"] == (own if later == "ours" else theirs).policy["rule"]
    assert f"by {'berta' if later == 'ours' else 'anna'}" in entry.reason
    assert restored(store, ours, Kept(entry, store.database.id)) == entry


def test_an_empty_database_gets_what_the_host_kept(store: PolicyStore, ours: Bundle) -> None:
    own = Revision(
        "anna",
        "",
        ours.manifest.version,
        ours.policy(BLUE).document.model_dump(mode="json"),
        {},
        revision=8,
        time="2026-01-01",
    )
    entry = restored(store, ours, Kept(own, "gone"))
    assert (entry.revision, entry.policy) == (9, own.policy)


def test_numbers_with_a_gap_are_compared_too(url: str) -> None:
    """Two hosts after the same revision, one of them leaving a gap: one of them is late."""
    databases = [Database(url), Database(url)]
    stores = [PolicyStore(database, "tiny") for database in databases]
    change = Change("anna", "", "v1", {}, {})
    for turn in range(20):
        last = stores[0].last()
        expected = last.revision if last else 0

        def append(which: int, expected: int = expected) -> str:
            try:
                stores[which].append(expected, change, expected + 1 + 4 * which)
            except StaleError:
                return "late"
            return "stored"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(append, range(2))) == ["late", "stored"], turn
    for database in databases:
        database.close()


@pytest.fixture
def hosts(url: str, tmp_path: Path, ours: Bundle) -> Iterator[list[PolicyInForce]]:
    databases = [Database(url), Database(url)]
    yield [first_in_force(ours, PolicyStore(database, "tiny"), HostPolicy(tmp_path / name, "tiny"))
           for name, database in zip(("here", "there"), databases, strict=True)]  # fmt: skip
    for database in databases:
        database.close()


def test_two_meanings_of_one_number_become_one_of_the_next(hosts: list[PolicyInForce], ours: Bundle, url: str) -> None:
    here, there = hosts
    mine = change_of(ours, ours.policy(BLUE), "anna", "", "change")
    here.change(1, ours.policy(BLUE), mine)
    engine = Database(url)
    with engine.writing() as connection:
        connection.exec_driver_sql("DELETE FROM revisions WHERE revision = 2")  # a standby that had not heard of it
    engine.close()
    argmax = ours.policy({"rule": {"kind": "argmax"}})
    there.change(1, argmax, change_of(ours, argmax, "berta", "", "change"))
    assert (here.current().revision, there.current().revision) == (2, 2)
    for host in (here, there, here, there):
        host.catch_up()
    assert here.current().entry == there.current().entry
    assert (here.current().revision, here.current().entry.policy["rule"]["kind"]) == (3, "argmax")


def test_one_host_acknowledges_itself_from_many_threads(hosts: list[PolicyInForce]) -> None:
    here, _ = hosts
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: here.acknowledge(), range(100)))


def test_a_host_that_cannot_follow_says_so_and_acknowledges_what_it_does(
    hosts: list[PolicyInForce], ours: Bundle, without_blue: Bundle, url: str, tmp_path: Path
) -> None:
    here, _ = hosts
    database = Database(url)
    other = PolicyInForce(without_blue, PolicyStore(database, "tiny"), HostPolicy(tmp_path / "there", "tiny"))
    here.change(1, ours.policy(BLUE), change_of(ours, ours.policy(BLUE), "anna", "", "change"))
    other.catch_up()
    assert other.current().revision == 1
    (said,) = other.degraded()
    assert said.startswith("revision 2 cannot be in force here, 1 is: /rule/thresholds/blue: unknown class")
    if database.notifies:
        other.acknowledge()
        here.acknowledge()
        assert here.behind(2) == [other.host.id]
    database.close()


def test_a_database_made_anew_while_the_service_runs_is_prepared_again(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(workers=1).wait()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert put(client, BLUE).status_code == 200
        with sqlite3.connect(server.state / "equipoise.db") as connection:
            for table in ("revisions", "schema", "answers", "tokens", "hosts"):
                connection.execute(f"DROP TABLE {table}")
        connection.close()
        deadline = time.monotonic() + 10
        while client.get("/config").json()["revision"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.get("/config").json()["policy"]["rule"] == BLUE["rule"]


def test_with_the_database_paused_writes_are_503_and_nothing_else_waits(
    start: Callable[..., Server], postgres: Callable[[str], Any]
) -> None:
    postgresql = postgres("paused")
    server = start(workers=1, EQUIPOISE_DATABASE_URL=postgresql.get_uri()).wait()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert put(client, BLUE).status_code == 200
        pids = _family(postgresql.get_pid())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(8) as pool:
                writes = [pool.submit(_write, server.url) for _ in range(8)]
                begun = time.monotonic()
                while not all(write.done() for write in writes):
                    for path in ("/readyz", "/config", "/metrics"):
                        asked = time.monotonic()
                        assert client.get(path).status_code == 200
                        assert time.monotonic() - asked < 4, path
                    assert time.monotonic() < begun + 25
                assert {write.result() for write in writes} == {503}
            assert "the policy store has not answered since" in client.get("/readyz").json()["degraded"][0]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + 20
        while client.get("/readyz").json()["degraded"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert put(client, BLUE).status_code == 200


def _write(url: str) -> int:
    with httpx.Client(base_url=url, timeout=30) as own:
        return put(own, {"rule": {"kind": "argmax"}}).status_code


def _family(pid: int) -> list[int]:
    import psutil

    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]
