"""The recomputation itself: against decision/, and its increase() against the laws of Prometheus's."""

import numpy as np
import pytest

from decision.drift import score as drift_score
from decision.drift import weighted_share
from tests.deploy.recompute import score, wilson
from tests.deploy.replicas import increase

TIMES = np.arange(0, 601, 60.0)


def test_scores_are_those_of_the_service() -> None:
    sums = np.array([[30.0, 0.0, 5.0, 500.0], [20.0, 2.0, 0.0, 480.0], [18.0, 1.9, 0.0, 25.0]])
    n, images = 505.0, np.array([100.0, 50.0, 10.0, 4000.0])
    np.testing.assert_allclose(score(*sums, n, images), drift_score(*sums, n, images), rtol=1e-12)


def test_limits_are_those_of_the_service() -> None:
    weight, squared, hits = np.array([40.0, 10.0]), np.array([80.0, 10.0]), np.array([30.0, 10.0])
    found, n = weighted_share(weight, squared, hits), weight**2 / squared
    np.testing.assert_allclose(wilson(hits / weight, n, -1), found.low, atol=1e-12)
    np.testing.assert_allclose(wilson(hits / weight, n, 1), found.high, atol=1e-12)


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
