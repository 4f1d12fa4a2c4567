"""The recomputation itself: against decision/, and its increase() against the laws of Prometheus's."""

import numpy as np
import pytest

from decision.drift import score as drift_score
from decision.outcomes import Outcomes
from decision.quality import Calls
from tests.deploy.recompute import score, weighted_share
from tests.deploy.replicas import increase

TIMES = np.arange(0, 601, 60.0)


def test_scores_are_those_of_the_service() -> None:
    sums = np.array([[30.0, 0.0, 5.0, 500.0], [20.0, 2.0, 0.0, 480.0], [18.0, 1.9, 0.0, 25.0]])
    n, images = 505.0, np.array([100.0, 50.0, 10.0, 4000.0])
    np.testing.assert_allclose(score(*sums, n, images), drift_score(*sums, n, images), rtol=1e-12)


@pytest.mark.parametrize("heaviest", [1.0, 4.0, 30.0])
def test_limits_are_those_of_the_service(heaviest: float) -> None:
    """Two steps towards them, the upper one that pages to 0.005; called answers are the light ones."""
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, 400)
    called = rng.random((400, 3)) < np.where(truth[:, None] == np.arange(3), [0.9, 0.6, 1.0], 0.1)
    weights = np.where(called.any(axis=1), 1.0, rng.uniform(1, heaviest, 400))
    outcomes = Outcomes(
        labels=np.full(400, -1), flags=called, can_flag=np.ones((400, 3), dtype=np.bool_), targets=np.zeros((400, 3)),
        top=truth, confidence=np.ones(400), weights=weights, known=np.ones(400, dtype=np.bool_), truth=truth,
    )  # fmt: skip
    true = outcomes.true
    right = Calls.of(outcomes, called, outcomes.can_flag)

    def sums(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return weights @ some, weights**2 @ some

    usual = tuple(squares / total for total, squares in (sums(called), sums(~called)))
    recall = weighted_share(sums(true), sums(true & called), usual, true.sum(axis=0))
    precision = weighted_share(sums(called), sums(true & called), (usual[0],) * 2, called.sum(axis=0))
    for found, exact in ((recall, right.recall()), (precision, right.precision())):
        np.testing.assert_allclose(found["ratio"], exact.intervals.value, rtol=1e-12)
        np.testing.assert_allclose(found["images"], exact.n_eff, rtol=1e-12)
        np.testing.assert_allclose(found["wilson_lower"], exact.intervals.low, atol=0.02)
        np.testing.assert_allclose(found["wilson_upper"], exact.intervals.high, atol=0.005)


@pytest.mark.parametrize(
    ("values", "start", "end", "expected"),
    [
        (10 + 2 * TIMES, 0, 600, 1200),  # both ends are samples
        (1000 + 2 * TIMES, 30, 570, 1080),  # both ends between samples: a line goes on
        (
            np.where(TIMES < 300, 1000 + TIMES, TIMES - 300),
            0,
            600,
            240 + 300,
        ),  # a restart loses what came after a scrape
        (2 * TIMES, -1000, 600, 1200),  # never below zero counts before the first sample
        (1000 + TIMES, -1000, 600, 630),  # half a step before a first sample that is far from the start
        (np.full(11, 7.0), 0, 600, 0),
    ],
)
def test_increase(values: np.ndarray, start: float, end: float, expected: float) -> None:
    assert increase(TIMES, values, start, end) == pytest.approx(expected)


def test_increase_of_one_sample_is_unknown() -> None:
    assert np.isnan(increase(TIMES, TIMES, 590, 610))
