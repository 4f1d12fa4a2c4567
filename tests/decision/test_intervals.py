import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from decision.intervals import Interval, clopper_pearson, wilson


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


def test_wilson_agrees_with_scipy() -> None:
    for hits, n in [(0, 10), (3, 10), (10, 10), (212, 300)]:
        low, high = wilson(hits, n)
        expected = scipy.stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_an_interval_prints_itself_also_where_it_is_undefined() -> None:
    assert str(Interval(0.314, 0.27, 0.365)) == "0.31 [0.27, 0.36]"
    assert f"{Interval(0.0126, 0.01, 0.02):.3f}" == "0.013 [0.010, 0.020]"
    assert str(Interval(float("nan"), 0.0, 1.0)) == "undefined [0.00, 1.00]"
