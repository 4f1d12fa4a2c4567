import numpy as np
import pytest
import scipy.stats

from decision.intervals import wilson
from decision.mixtures import Strata, mean, precision, share

OWN = np.array([0])


def world(k: int, share_: float, priors: str, repetitions: int) -> tuple[Strata, np.ndarray, np.ndarray]:
    """Strata, the share of each class that is called, and calls `(k, repetitions)`; class 0 is mostly called."""
    rng = np.random.default_rng(k)
    n = np.concatenate([[200], np.geomspace(2000, 50, k - 1).astype(int)]).astype(float)
    pi = n / n.sum() if priors == "natural" else np.full(k, 1 / k)
    shares = np.concatenate([[0.9], np.full(k - 1, share_)])
    return Strata(pi, n), shares, rng.binomial(n.astype(int)[:, None], shares[:, None], (k, repetitions)).astype(float)


@pytest.mark.parametrize("priors", ["natural", "uniform"])
@pytest.mark.parametrize(("k", "called"), [(2, 0.005), (2, 0.1), (12, 0.02), (12, 0.1)])
def test_precision_and_shares_cover_about_95_percent(k: int, called: float, priors: str) -> None:
    strata, shares, hits = world(k, called, priors, 2000)
    pi = strata.priors
    for found, truth in (
        (precision(strata, hits, np.zeros(2000, dtype=int)), pi[0] * shares[0] / (pi @ shares)),
        (share(strata, hits), pi @ shares),
    ):
        assert 0.93 <= np.mean((found.low <= truth) & (truth <= found.high)) <= 0.99


def test_precision_by_hand_and_at_its_ends() -> None:
    strata = Strata(np.array([0.1, 0.9]), np.array([100.0, 1000.0]))
    hits = np.array([[90.0, 0.0, 90.0, 0.0], [20.0, 0.0, 0.0, 20.0]])
    usual, none, perfect, hopeless = (precision(strata, hits, np.zeros(4, dtype=int)).at(i) for i in range(4))
    assert usual.value == pytest.approx(0.09 / (0.09 + 0.018))
    assert usual.low < usual.value < usual.high
    assert (np.isnan(none.value), none.low, none.high) == (True, 0.0, 1.0)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low < 1.0
    assert (hopeless.value, hopeless.low) == (0.0, 0.0)
    assert 0.0 < hopeless.high < 1.0


def test_a_share_of_one_class_is_wilsons() -> None:
    hits = np.array([[30.0, 12.0, 88.0]])
    found = share(Strata(np.ones(1), np.array([100.0])), hits)
    low, high = wilson(hits[0], 100.0)
    np.testing.assert_allclose((found.value, found.low, found.high), (hits[0] / 100, low, high))


def test_a_few_calls_have_garwoods_upper_limit() -> None:
    """For rare events of one class the binomial is Poisson: scipy's chi-square form of Garwood 1936."""
    found = share(Strata(np.ones(1), np.array([1e6])), np.arange(10.0)[None])
    np.testing.assert_allclose(found.high * 1e6, scipy.stats.chi2.ppf(0.975, 2 * (np.arange(10) + 1)) / 2, rtol=1e-4)
    np.testing.assert_allclose(found.low[1:] * 1e6, scipy.stats.chi2.ppf(0.025, 2 * np.arange(1, 10)) / 2, rtol=1e-4)
    assert found.low[0] == 0.0


def test_calls_and_misses_mirror_each_other() -> None:
    strata, _, hits = world(12, 0.1, "uniform", 50)
    called, missed = share(strata, hits), share(strata, strata.n[:, None] - hits)
    np.testing.assert_allclose(called.value, 1 - missed.value)
    np.testing.assert_allclose(called.low, 1 - missed.high, atol=1e-12)


def test_a_class_without_an_image_may_be_anything() -> None:
    hits = np.array([[50.0], [0.0]])
    unseen, seen = (Strata(np.array([0.8, 0.2]), np.array([100.0, n])) for n in (0.0, 1000.0))
    assert unseen.unseen == 0.2
    assert share(unseen, hits).value == pytest.approx(0.5), "the share of what is known"
    assert share(unseen, hits).high == pytest.approx(share(seen, hits).high + 0.2, abs=0.01)
    assert precision(unseen, hits, OWN).low < 0.67
    assert precision(seen, hits, OWN).low > 0.98
    own_unseen = precision(unseen, hits, np.array([1])).at(0)
    assert (np.isnan(own_unseen.value), own_unseen.low, own_unseen.high) == (True, 0.0, 1.0)


def test_the_mean_of_one_size_is_a_share_of_it() -> None:
    strata, _, hits = world(12, 0.1, "natural", 20)
    cost = 7.0
    found, expected = mean(strata, cost * hits, cost**2 * hits, cost), share(strata, hits)
    for one, other in ((found.value, expected.value), (found.low, expected.low), (found.high, expected.high)):
        np.testing.assert_allclose(one, cost * other)


def test_the_mean_of_several_sizes_has_the_variance_of_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    x = rng.choice([0.0, 1.0, 20.0], (2, 500), p=[0.7, 0.2, 0.1])
    strata = Strata(np.array([0.3, 0.7]), np.array([500.0, 500.0]))
    found = mean(strata, x.sum(axis=1)[:, None], (x**2).sum(axis=1)[:, None], 20.0).at(0)
    draws = [(strata.priors * [rng.choice(row, 500).mean() for row in x]).sum() for _ in range(4000)]
    assert found.value == pytest.approx(strata.priors @ x.mean(axis=1))
    np.testing.assert_allclose((found.low, found.high), np.percentile(draws, [2.5, 97.5]), rtol=0.03)


def test_a_heavy_class_that_was_never_called_is_not_without_risk() -> None:
    heavy = Strata(np.array([0.5, 0.5]), np.array([10_000.0, 20.0]))
    light = Strata(np.array([0.998, 0.002]), np.array([10_000.0, 20.0]))
    hits = np.array([[50.0], [0.0]])
    assert share(heavy, hits).high[0] > 0.05
    assert share(light, hits).high[0] < 0.008


def test_one_true_call_among_few_false_ones_leaves_precision_open() -> None:
    """Its upper limit is more than twice its value: the lower limit of the ratio is that of its parts."""
    strata = Strata(np.array([0.1, 0.9]), np.array([200.0, 1000.0]))
    found = precision(strata, np.array([[1.0], [2.0]]), OWN).at(0)
    true_high = 0.1 * float(wilson(1, 200)[1])
    false_low = float(share(Strata(np.array([0.9]), np.array([1000.0])), np.array([[2.0]])).low[0])
    assert found.value == pytest.approx(0.0005 / (0.0005 + 0.0018))
    assert found.high == pytest.approx(1 / (1 + false_low / true_high), rel=1e-3)
    assert found.low < 0.05


@pytest.mark.parametrize(("n", "called"), [((500, 10), 0.9), ((500, 20), 0.95), ((500, 30), 0.95), ((500, 40), 0.98)])
def test_precision_covers_where_another_class_is_nearly_always_called(n: tuple[int, int], called: float) -> None:
    rng = np.random.default_rng(1)
    hits = np.stack([rng.binomial(m, p, 2000) for m, p in zip(n, (0.9, called), strict=True)]).astype(float)
    found = precision(Strata(np.array([0.5, 0.5]), np.array(n, dtype=float)), hits, np.zeros(2000, dtype=int))
    truth = 0.9 / (0.9 + called)
    assert np.mean((found.low <= truth) & (truth <= found.high)) >= 0.94


def test_half_an_image_weighs_as_one_image_of_its_class() -> None:
    """A group that is torn between splits may leave less than one image."""
    strata = Strata(np.array([0.5, 0.5]), np.array([0.5, 100.0]))
    assert share(strata, np.array([[0.5], [0.0]])).value[0] == pytest.approx(0.5)
    low, high = wilson(0.25, 0.5)
    assert float(low + high) == pytest.approx(1.0)


def test_precision_has_the_limits_of_a_ratio_by_square_and_add() -> None:
    """Donner and Zou 2012: (top - L bottom)² = (top - top limit)² + L² (bottom limit - bottom)² at each limit L."""
    strata = Strata(np.array([0.2, 0.8]), np.array([300.0, 4000.0]))
    hits = np.array([[210.0], [60.0]])
    found = precision(strata, hits, OWN).at(0)
    true, false = 0.2 * 210 / 300, 0.8 * 60 / 4000
    true_low, true_high = (0.2 * float(limit) for limit in wilson(210, 300))
    false_low, false_high = (0.8 * float(limit) for limit in wilson(60, 4000))
    for precise, false_limit, true_limit in ((found.high, false_low, true_high), (found.low, false_high, true_low)):
        ratio = 1 / precise - 1
        assert (false - ratio * true) ** 2 == pytest.approx(
            (false - false_limit) ** 2 + ratio**2 * (true_limit - true) ** 2, rel=1e-6
        )
