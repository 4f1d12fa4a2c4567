"""The store against a model in plain Python: any order of calls, both databases, and writers that race."""

import threading
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import service.store
from service.database import Database
from service.store import Change, PolicyStore, Revision, StaleError

MODELS = ("digits", "solar", "größe")
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
documents = st.dictionaries(texts, values, max_size=3)
changes = st.builds(
    Change, actor=texts, reason=texts, model_version=texts, policy=documents,
    event=st.sampled_from(["change", "rollback"]), thresholds=st.dictionaries(texts, st.floats(0, 1), max_size=3),
    certificates=st.lists(documents, max_size=2), preview=st.none() | documents,
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Two stores a model, as two workers have, on one database; the model of all of it is a dict of lists."""

    new_url: Callable[[], str]

    @initialize()
    def begin(self) -> None:
        url = self.new_url()
        self.databases = [Database(url), Database(url)]
        self.known: dict[str, list[Revision]] = {name: [] for name in MODELS}

    def store(self, who: int, model: str) -> PolicyStore:
        return PolicyStore(self.databases[who], model)

    @rule(
        who=st.integers(0, 1),
        model=st.sampled_from(MODELS),
        change=changes,
        ahead=st.integers(-2, 2),
        gap=st.integers(0, 2),
    )
    def append(self, who: int, model: str, change: Change, ahead: int, gap: int) -> None:
        known = self.known[model]
        last = known[-1].revision if known else 0
        expected = max(0, last + ahead)
        if expected != last:
            with pytest.raises(StaleError):
                self.store(who, model).append(expected, change, expected + 1 + gap)
        else:
            entry = self.store(who, model).append(expected, change, expected + 1 + gap if gap else None)
            assert entry.revision == last + 1 + gap
            assert {name: getattr(entry, name) for name in vars(change)} == vars(change)
            known.append(entry)

    @rule(
        who=st.integers(0, 1),
        model=st.sampled_from(MODELS),
        limit=st.integers(1, 5),
        before=st.none() | st.integers(0, 9),
    )
    def history(self, who: int, model: str, limit: int, before: int | None) -> None:
        expected = [entry for entry in reversed(self.known[model]) if before is None or entry.revision < before]
        assert self.store(who, model).history(limit=limit, before=before) == expected[:limit]

    @rule(who=st.integers(0, 1), model=st.sampled_from(MODELS), revision=st.integers(0, 9))
    def get(self, who: int, model: str, revision: int) -> None:
        expected = [entry for entry in self.known[model] if entry.revision == revision]
        assert self.store(who, model).get(revision) == (expected[0] if expected else None)

    @invariant()
    def every_last_is_the_last(self) -> None:
        for name, known in getattr(self, "known", {}).items():
            for who in (0, 1):
                assert self.store(who, name).last() == (known[-1] if known else None)

    def teardown(self) -> None:
        for database in getattr(self, "databases", []):
            database.close()


def test_it_is_a_list_a_model_whatever_the_order_of_calls(new_url: Callable[[], str]) -> None:
    machine = type("Machine", (Machine,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=15, stateful_step_count=12, deadline=None,
                          suppress_health_check=list(HealthCheck)),
    )  # fmt: skip


def test_of_racing_writers_each_number_goes_to_one(url: str) -> None:
    won: list[tuple[int, str]] = []
    failed: list[Exception] = []

    def write(name: str) -> None:
        database = Database(url)
        try:
            store = PolicyStore(database, "digits")
            while len(mine := [n for n, who in won if who == name]) < 12:
                last = store.last()
                change: Any = Change(name, f"{len(mine)}", "v1", {"by": name}, {})
                try:
                    won.append((store.append(last.revision if last else 0, change).revision, name))
                except StaleError:
                    continue
        except Exception as error:
            failed.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=write, args=(f"writer {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    database = Database(url)
    stored = PolicyStore(database, "digits").history(limit=1000)
    database.close()
    assert [(entry.revision, entry.actor) for entry in stored] == sorted(won, reverse=True)
    assert [entry.revision for entry in stored] == list(range(72, 0, -1))


def test_a_clock_set_back_changes_no_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backwards(datetime):
        years = iter([2026, 2025, 2020, 2019])

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Backwards":
            return cls(next(cls.years), 5, 1, tzinfo=tz)

    monkeypatch.setattr(service.store, "datetime", Backwards)
    store = PolicyStore(database, "tiny")
    for n in range(4):
        store.append(n, Change("admin", str(n), "v1", {}, {}))
    found = store.history(limit=9)
    assert [(entry.revision, entry.reason) for entry in found] == [(4, "3"), (3, "2"), (2, "1"), (1, "0")]
    assert [entry.time[:4] for entry in found] == ["2019", "2020", "2025", "2026"]
    assert store.last() == found[0]
