"""Answers: stored off the request path, thinned out in time, and never lost without being counted."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import service.answer_log
import service.answers
import service.database
from decision import Decisions, softmax
from service.answer_log import AnswerLog
from service.answers import Answers, AnswerStore
from service.database import Database
from service.schemas import uuid7
from tests.service.conftest import until

K = 3
NOW = 1_800_000_000.0
DAY = 24 * 3600.0


@pytest.fixture
def store(database: Database) -> AnswerStore:
    return AnswerStore(database, "tiny", "v2", K)


@pytest.fixture
def sqlite_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnswerStore]:
    """On a database that waits a tenth of a second for a lock."""
    monkeypatch.setattr(service.database, "BUSY_SECONDS", 0.1)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.ensure_schema()
    yield AnswerStore(database, "tiny", "v2", K)
    database.close()


@pytest.fixture
def open_log() -> Iterator[Callable[..., AnswerLog]]:
    opened: list[AnswerLog] = []

    def start(store: AnswerStore, leads: bool = False, dropped: Callable[[int], object] = int) -> AnswerLog:
        opened.append(AnswerLog(store, leads=lambda: leads, dropped=dropped))
        return opened[-1]

    yield start
    for log in opened:
        log.close()


def at(seconds: float, rng: random.Random) -> str:
    """An id of that Unix time, as `uuid7` makes one."""
    random_bits = rng.getrandbits(80) & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return str(UUID(int=int(seconds * 1000) << 80 | random_bits))


def answers(ids: list[str], seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    n = len(ids)
    p = softmax(rng.normal(0, 4, (n, K))) if n else np.empty((0, K))
    return Answers(tuple(ids), rng.integers(1, 9, n), rng.integers(-1, K, n), p, rng.random((n, K)) < 0.3)


def decided(label: int, flags: np.ndarray) -> Decisions:
    return Decisions(np.array([label]), flags[None], np.full((1, K), np.nan))


def note(log: AnswerLog, n: int) -> list[str]:
    ids = [uuid7() for _ in range(n)]
    for own in ids:
        log.note([own], 1, decided(2, np.zeros(K, np.bool_)), np.array([[0.0, 1.0, 2.0]]))
    return ids


def stored(store: AnswerStore) -> set[str]:
    return set(store.last(100_000).ids)


# The store


def test_the_newest_of_this_version_come_back_newest_first(database: Database, store: AnswerStore) -> None:
    rng = random.Random(0)
    ids = [at(NOW + n, rng) for n in range(20)]
    given = answers(ids)
    store.append(given)
    store.append(answers([]))
    for other in (("tiny", "v1"), ("another", "v2")):
        AnswerStore(database, *other, K).append(answers([at(NOW + 100, rng)]))
    found = store.last(5)
    newest = slice(19, 14, -1)
    assert found.ids == given.ids[newest]
    np.testing.assert_array_equal(found.revisions, given.revisions[newest])
    np.testing.assert_array_equal(found.labels, given.labels[newest])
    np.testing.assert_array_equal(found.flags, given.flags[newest])
    assert found.probabilities.dtype == np.float64
    np.testing.assert_array_equal(found.probabilities, given.probabilities[newest].astype(np.float16))
    assert set(store.last(1000).ids) == set(ids)
    assert -1 in store.last(1000).labels


def test_an_empty_store_has_no_answers(store: AnswerStore) -> None:
    found = store.last(10)
    assert (found.ids, found.revisions.shape, found.labels.shape, found.probabilities.shape) == ((), (0,), (0,), (0, K))
    assert list(store.prune(NOW)) == []


def test_an_id_that_is_there_stays_as_it_was(store: AnswerStore) -> None:
    ids = [at(NOW + n, random.Random(n)) for n in range(3)]
    first = answers(ids[:2], seed=1)
    store.append(first)
    store.append(answers([*ids, ids[2]], seed=2))
    found = store.last(10)
    assert found.ids == tuple(reversed(ids))
    np.testing.assert_array_equal(found.probabilities[1:], first.probabilities[::-1].astype(np.float16))


@pytest.mark.parametrize(("most", "young"), [(300, 10_000), (10_000, 300), (500, 400), (0, 0)])
def test_pruning_thins_out_what_is_beyond_the_newest_or_old(
    database: Database, store: AnswerStore, monkeypatch: pytest.MonkeyPatch, most: int, young: int
) -> None:
    """1,300 answers a minute apart, of two versions; `young` of them are younger than 14 days."""
    monkeypatch.setattr(service.answers, "RETAINED", max(1, most))
    monkeypatch.setattr(service.answers, "PRUNED_AT_ONCE", 250)
    rng = random.Random(0)
    ids = [at(NOW - 60 * n - 1, rng) for n in range(1300)]  # the newest first
    old = AnswerStore(database, "tiny", "v1", K)
    old.append(answers(ids[650:]))
    store.append(answers(ids[:650]))
    another = AnswerStore(database, "another", "v2", K)
    another.append(answers(ids))

    whole = min(max(1, most), young)
    now = NOW + 14 * DAY - 60 * young
    deleted = list(store.prune(now))
    expected = {own for n, own in enumerate(ids) if n < whole or int(own[-4:], 16) < 655}
    assert stored(store) | stored(old) == expected
    assert len(expected) - whole == pytest.approx((1300 - whole) / 100, abs=10)
    assert sum(deleted) == 1300 - len(expected)
    assert deleted[:-1] == [250] * (len(deleted) - 1)
    assert len(stored(another)) == 1300
    assert list(store.prune(now)) == [], "the same are kept each time"


def test_between_the_steps_of_a_pruning_others_write(
    sqlite_store: AnswerStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service.answers, "PRUNED_AT_ONCE", 10)
    rng = random.Random(0)
    sqlite_store.append(answers([at(NOW + n, rng) for n in range(100)]))
    with sqlite3.connect(tmp_path / "x.db", timeout=0, isolation_level=None) as other:
        steps = 0
        for _ in sqlite_store.prune(NOW + 15 * DAY):
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
            steps += 1
    other.close()
    assert steps >= 9


# The log


def test_what_is_noted_is_stored_within_a_second_or_so(store: AnswerStore, open_log: Callable[..., AnswerLog]) -> None:
    log = open_log(store)
    logits = np.array([0.3, -2.0, 1.5])
    own = uuid7()
    log.note([own], 7, decided(-1, np.array([False, True, True])), logits[None])
    until(lambda: stored(store), 3)
    found = store.last(1)
    assert (found.ids, found.revisions.tolist(), found.labels.tolist()) == ((own,), [7], [-1])
    np.testing.assert_allclose(found.probabilities, softmax(logits[None]), rtol=2**-11)
    assert found.flags.tolist() == [[False, True, True]]


def test_a_thousand_do_not_wait_for_the_second(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.answer_log, "WRITE_SECONDS", 60.0)
    log = open_log(sqlite_store)
    note(log, 999)
    time.sleep(0.2)
    assert not stored(sqlite_store)
    note(log, 1)
    until(lambda: len(stored(sqlite_store)) == 1000, 5)


def test_closing_stores_what_is_left(store: AnswerStore, open_log: Callable[..., AnswerLog]) -> None:
    log = open_log(store)
    ids = note(log, 2500)
    log.close()
    assert stored(store) == set(ids)


def test_every_answer_of_many_threads_is_stored_once(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog]
) -> None:
    dropped: list[int] = []
    log = open_log(sqlite_store, dropped=dropped.append)
    noted: list[str] = []
    threads = [threading.Thread(target=lambda: noted.extend(note(log, 1500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert stored(sqlite_store) == set(noted)
    assert (len(noted), dropped) == (12_000, [])


def test_while_the_store_does_not_answer_the_newest_wait_and_the_rest_are_counted(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    for name, value in {"BATCH": 100, "MOST_WAITING": 500, "WRITE_SECONDS": 0.05, "RETRY_SECONDS": 0.05}.items():
        monkeypatch.setattr(service.answer_log, name, value)
    dropped: list[int] = []
    log = open_log(sqlite_store, dropped=dropped.append)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    ids = []
    for _ in range(43):
        ids += note(log, 70)
        time.sleep(0.02)  # for the writer to fail in between
    assert time.monotonic() - begun < 5, "a request never waits for the store"
    assert len(log._noted) <= 500
    other.execute("ROLLBACK")
    other.close()
    until(lambda: len(stored(sqlite_store)) >= 500)
    later = note(log, 10)
    log.close()
    kept = stored(sqlite_store)
    assert kept >= set(ids[-500:]) | set(later)
    assert len(kept) <= 500 + 100 + 10, "a hundred may have been on their way"
    assert len(kept) + sum(dropped) == len(ids) + len(later)
    assert caplog.text.count("answers wait to be stored") == 1


def test_writing_goes_on_when_the_database_is_back(
    postgres: Callable[[str], Any], open_log: Callable[..., AnswerLog]
) -> None:
    server = postgres("answers")
    database = Database(server.get_uri())
    database.ensure_schema()
    store = AnswerStore(database, "tiny", "v2", K)
    dropped: list[int] = []
    log = open_log(store, dropped=dropped.append)
    ids = note(log, 100)
    until(lambda: stored(store) == set(ids))
    server.stop()
    ids += note(log, 1500)
    time.sleep(1.5)
    server.ensure_postgres_running()
    ids += note(log, 100)
    until(lambda: len(stored(store)) == 1700)
    assert stored(store) == set(ids)
    assert not dropped
    log.close()
    database.close()


def test_what_is_left_when_the_log_is_closed_is_counted(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog], tmp_path: Path
) -> None:
    dropped: list[int] = []
    log = open_log(sqlite_store, dropped=dropped.append)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    note(log, 30)
    log.close()
    assert dropped == [30]
    other.close()


def test_an_answer_that_cannot_be_stored_stops_no_other(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog], caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[int] = []
    log = open_log(sqlite_store, dropped=dropped.append)
    log.note(["no UUID"], 1, decided(0, np.zeros(K, np.bool_)), np.zeros((1, K)))
    until(lambda: dropped == [1], 3)
    ids = note(log, 2)
    log.close()
    assert stored(sqlite_store) == set(ids)
    assert "1 answers were not stored" in caplog.text


def test_of_the_workers_the_one_that_leads_prunes(
    sqlite_store: AnswerStore, open_log: Callable[..., AnswerLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.answer_log, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(service.answers, "PRUNED_AT_ONCE", 100)
    rng = random.Random(0)
    old = [at(time.time() - 15 * DAY + n, rng) for n in range(950)]
    sqlite_store.append(answers(old))
    open_log(sqlite_store, leads=False)
    time.sleep(0.3)
    assert len(stored(sqlite_store)) == 950
    log = open_log(sqlite_store, leads=True)
    until(lambda: stored(sqlite_store) == {own for own in old if int(own[-4:], 16) < 655})
    ids = note(log, 1)
    until(lambda: stored(sqlite_store) > set(ids))
