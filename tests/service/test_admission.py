"""Bursts wait their turn; a queue that stands is kept short, and as much is done all the same."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import STANDING, Admission

PATIENCE = 2.0
SHORT = STANDING * PATIENCE


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


def test_from_the_first_who_is_turned_away_the_queue_is_kept_short(admission: Admission, clock: Clock) -> None:
    assert not admission.admits(PATIENCE * 1.01)
    assert not admission.admits(SHORT * 1.01)
    assert admission.admits(SHORT)
    for _ in range(50):
        clock.now += PATIENCE
        assert not admission.admits(SHORT * 1.01), "while somebody is turned away"


def test_it_is_over_when_nobody_was_turned_away_for_the_patience(admission: Admission, clock: Clock) -> None:
    assert not admission.admits(PATIENCE * 1.01)
    for _ in range(4):
        clock.now += PATIENCE / 4
        assert admission.admits(SHORT)
    clock.now += 0.001
    assert admission.admits(PATIENCE), "a burst again"


def test_clients_that_wait_for_their_answers_are_no_overload(admission: Admission, clock: Clock) -> None:
    for _ in range(100):
        clock.now += PATIENCE
        assert admission.admits(PATIENCE * 0.9), "as many as there are clients wait, and no more come"


def test_what_is_worked_on_is_waited_for_and_is_no_queue(admission: Admission) -> None:
    assert admission.admits(PATIENCE / 2, PATIENCE / 2)
    assert not admission.admits(PATIENCE / 2, PATIENCE * 0.51)
    assert admission.admits(SHORT, PATIENCE / 2)


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
        assert max(waits[len(waits) // 10 :]) <= SHORT, "after the first burst"
