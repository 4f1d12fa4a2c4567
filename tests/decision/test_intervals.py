import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from decision.intervals import clopper_pearson, precision, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_agrees_with_scipy(sample: tuple[int, int]) -> None:
    hits, n = sample
    low, high = clopper_pearson(hits, n)
    expected = scipy.stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert low <= hits / n <= high


def test_without_images_nothing_is_known() -> None:
    assert [limit.tolist() for limit in clopper_pearson([0, 5], [0, 5])] == [
        [0.0, pytest.approx(0.478, abs=1e-3)],
        [1.0, 1.0],
    ]


@pytest.mark.parametrize(("n", "share"), [(5, 0.5), (20, 0.1), (59, 0.95), (200, 0.99)])
def test_it_covers_at_least_95_percent(n: int, share: float) -> None:
    hits = np.arange(n + 1)
    low, high = clopper_pearson(hits, n)
    covered = (low <= share) & (share <= high)
    assert scipy.stats.binom.pmf(hits, n, share)[covered].sum() >= 0.95


@pytest.mark.parametrize("priors", ["natural", "uniform"])
@pytest.mark.parametrize(("k", "share"), [(2, 0.005), (2, 0.1), (12, 0.005), (12, 0.02), (12, 0.1)])
def test_precision_covers_about_95_percent(k: int, share: float, priors: str) -> None:
    rng = np.random.default_rng(k)
    n = np.concatenate([[200], np.geomspace(2000, 50, k - 1).astype(int)]).astype(float)
    pi = n / n.sum() if priors == "natural" else np.full(k, 1 / k)
    shares = np.concatenate([[0.9], np.full(k - 1, share)])
    truth = pi[0] * shares[0] / (pi * shares).sum()
    covered = 0
    for _ in range(1000):
        found = precision(pi, rng.binomial(n.astype(int), shares).astype(float), n, 0)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1000 <= 0.99


def test_wilson_agrees_with_scipy() -> None:
    for hits, n in [(0, 10), (3, 10), (10, 10), (212, 300)]:
        low, high = wilson(hits, n)
        expected = scipy.stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_precision_by_hand_and_at_its_ends() -> None:
    pi, n = np.array([0.1, 0.9]), np.array([100.0, 1000.0])
    found = precision(pi, np.array([90.0, 20.0]), n, 0)
    assert found.value == pytest.approx(0.09 / (0.09 + 0.018))
    assert found.low < found.value < found.high
    assert np.isnan(precision(pi, np.zeros(2), n, 0).value)
    perfect = precision(pi, np.array([90.0, 0.0]), n, 0)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low < 1.0
    hopeless = precision(pi, np.array([0.0, 20.0]), n, 0)
    assert (hopeless.value, hopeless.low) == (0.0, 0.0)
    assert 0.0 < hopeless.high < 1.0
