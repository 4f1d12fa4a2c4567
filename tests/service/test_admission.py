"""Bursts wait their turn; a queue that stands is kept short, and as much is done all the same."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import STANDING, STANDS_AFTER, Admission

PATIENCE = 2.0
SHORT, SOON = STANDING * PATIENCE, STANDS_AFTER * PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(PATIENCE, clock)


def test_a_burst_may_wait_for_the_patience(admission: Admission) -> None:
    assert [admission.admits(wait) for wait in (0.0, SHORT, PATIENCE / 2, PATIENCE)] == [True] * 4
    assert not admission.admits(math.nextafter(PATIENCE, math.inf))
    assert admission.admits(PATIENCE)


def test_a_queue_that_stands_is_no_burst(admission: Admission, clock: Clock) -> None:
    assert admission.admits(SHORT * 1.01)
    clock.now += SOON
    assert admission.admits(SHORT * 1.01)
    clock.now += 0.001
    assert not admission.admits(SHORT * 1.01)
    assert admission.admits(SHORT)
    assert not admission.admits(SHORT * 1.01), "one that was short for a moment stands still"


def test_it_is_over_when_nobody_was_turned_away_for_the_patience(admission: Admission, clock: Clock) -> None:
    assert admission.admits(PATIENCE / 2)
    clock.now += 2 * SOON
    assert not admission.admits(PATIENCE / 2)
    for _ in range(50):
        clock.now += PATIENCE / 4
        assert admission.admits(SHORT)
    assert admission.admits(PATIENCE), "a burst again"


def test_it_is_not_over_while_somebody_is(admission: Admission, clock: Clock) -> None:
    assert admission.admits(PATIENCE / 2)
    for _ in range(50):
        clock.now += PATIENCE / 2
        assert not admission.admits(SHORT * 2)


def test_who_comes_after_a_pause_meets_a_burst(admission: Admission, clock: Clock) -> None:
    """Nothing was asked for a while: that the wait is long now does not say that it was."""
    assert admission.admits(0.0)
    clock.now += 10 * SOON
    assert admission.admits(PATIENCE / 2)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=50))
def test_a_short_wait_is_always_admitted_and_a_long_one_never(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    admission = Admission(PATIENCE, clock)
    for passed, wait in steps:
        clock.now += passed
        admitted = admission.admits(wait)
        assert admitted or wait > SHORT
        assert not admitted or wait <= PATIENCE


@pytest.mark.parametrize("load", [0.8, 2.0, 10.0])
def test_what_can_be_done_is_done_and_nobody_waits_for_nothing(load: float) -> None:
    """A queue of work, one unit a second of it done, Poisson arrivals of 0.01 each."""
    rng, clock, one = random.Random(0), Clock(), 0.01
    admission, work, waits, refused, done = Admission(PATIENCE, clock), 0.0, list[float](), 0, 0.0
    for _ in range(60_000):
        passed = rng.expovariate(load / one)
        clock.now += passed
        done += min(work, passed)
        work = max(0.0, work - passed)
        if admission.admits(work):
            waits.append(work)
            work += one
        else:
            refused += 1
    share = done / (clock.now - 100.0)
    if load < 1:
        assert refused <= 0.001 * len(waits)
    else:
        assert share > 0.98
        assert max(waits) <= PATIENCE
        assert sorted(waits[len(waits) // 10 :])[-1] <= SHORT * 1.01, "after the first burst"
