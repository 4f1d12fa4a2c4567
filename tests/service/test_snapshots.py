"""What was counted in a window, over hosts, restarts and thinned-out snapshots, on both databases."""

import itertools

import numpy as np
import pytest

from service.database import Database
from service.snapshots import FINE, HOUR, RETAINED, SnapshotStore

MINUTE = 60_000
NOW = 1_000 * 24 * HOUR


@pytest.fixture
def store(database: Database) -> SnapshotStore:
    return SnapshotStore(database, "model", "1", 2)


def keep(store: SnapshotStore, host: str, start: str, *reached: tuple[int, float]) -> None:
    for time, count in reached:
        store.append(host, start, time, np.array([count, 2 * count]))


def test_nothing_was_counted_before_anything_was(store: SnapshotStore) -> None:
    found = store.increase(NOW - HOUR, NOW)
    assert found.sums.tolist() == [0, 0]
    assert (found.since, found.until, found.hosts, found.starts) == (NOW - HOUR, NOW, 0, 0)


def test_hosts_add_up_and_restarts_count_from_nothing(store: SnapshotStore) -> None:
    keep(store, "a", "1", (NOW - 90 * MINUTE, 100), (NOW - 61 * MINUTE, 110), (NOW - 30 * MINUTE, 150))
    keep(store, "a", "2", (NOW - 20 * MINUTE, 3), (NOW, 7))
    keep(store, "b", "1", (NOW - 60 * MINUTE, 1_000), (NOW - MINUTE, 1_001), (NOW + MINUTE, 5_000))
    keep(store, "c", "1", (NOW - 90 * MINUTE, 1_000))  # silent since
    found = store.increase(NOW - HOUR, NOW)
    assert found.sums.tolist() == [40 + 7 + 1, 2 * 48]
    assert (found.since, found.until, found.hosts, found.starts) == (NOW - 61 * MINUTE, NOW, 2, 3)


def test_windows_put_together_are_the_whole(store: SnapshotStore) -> None:
    rng = np.random.default_rng(0)
    for start in range(5):
        times = NOW + 20 * start * MINUTE + np.arange(20) * MINUTE
        keep(store, "a", str(start), *zip(times.tolist(), rng.integers(0, 9, 20).cumsum().tolist(), strict=True))
    cuts = [NOW - 1, *(NOW + np.sort(rng.choice(100, 7, replace=False)) * MINUTE).tolist(), NOW + HOUR * 2]
    parts = sum(store.increase(a, b).sums for a, b in itertools.pairwise(cuts))
    assert np.array_equal(parts, store.increase(cuts[0], cuts[-1]).sums)


def test_other_sizes_and_versions_are_left_out(store: SnapshotStore, database: Database) -> None:
    keep(store, "a", "1", (NOW, 5))
    SnapshotStore(database, "model", "1", 3).append("b", "1", NOW, np.ones(3))
    SnapshotStore(database, "model", "2", 2).append("a", "1", NOW, np.ones(2))
    SnapshotStore(database, "other", "1", 2).append("a", "1", NOW, np.ones(2))
    assert store.increase(NOW - HOUR, NOW).sums.tolist() == [5, 10]


def test_thinning_keeps_every_hour_s_first_and_what_is_recent(store: SnapshotStore) -> None:
    times = range(NOW - RETAINED - 2 * HOUR, NOW, 20 * MINUTE)
    keep(store, "a", "1", *((time, float(number)) for number, time in enumerate(times)))
    before = store.increase(NOW - HOUR, NOW).sums
    store.thin(NOW)
    left = store._reached  # what is there at any time
    assert store.increase(NOW - HOUR, NOW).sums.tolist() == before.tolist()
    assert left(NOW - FINE + 20 * MINUTE)[("a", "1")][0] == NOW - FINE + 20 * MINUTE, "recent ones are all there"
    old = NOW - FINE - 5 * HOUR
    assert left(old + 59 * MINUTE)[("a", "1")][0] == old, "of an old hour the first is"
    assert left(NOW - RETAINED - 1) == {}
    store.thin(NOW)
    assert store.increase(old, NOW).sums[0] == (NOW - old) / (20 * MINUTE) - 1


def test_a_clock_that_is_set_back_takes_nothing_away(store: SnapshotStore) -> None:
    keep(store, "a", "1", (NOW, 500), (NOW + 5 * MINUTE, 1_000), (NOW - MINUTE, 1_100), (NOW, 1_200))
    assert store.increase(NOW - HOUR, NOW + HOUR).sums[0] == 1_200
    assert store.increase(NOW, NOW + HOUR).sums[0] == 700


def test_what_a_start_had_reached_when_it_ended_stays(store: SnapshotStore) -> None:
    begun = NOW - 10 * HOUR
    keep(store, "a", "1", *((begun + minute * MINUTE, 1_000.0 * minute) for minute in range(51)))
    keep(store, "a", "2", (NOW - HOUR, 0), (NOW, 7))
    before = store.increase(NOW - 12 * HOUR, NOW).sums
    assert before[0] == 50_007
    store.thin(NOW)
    assert store.increase(NOW - 12 * HOUR, NOW).sums.tolist() == before.tolist()


def test_versions_that_are_served_no_more_are_forgotten_too(store: SnapshotStore, database: Database) -> None:
    old = SnapshotStore(database, "model", "0", 2)
    keep(old, "a", "1", (NOW - RETAINED - HOUR, 5), (NOW - HOUR, 6))
    store.thin(NOW)
    assert old.increase(NOW - RETAINED - 2 * HOUR, NOW - 2 * HOUR).starts == 0
    assert old.increase(NOW - 2 * HOUR, NOW).sums[0] == 6
