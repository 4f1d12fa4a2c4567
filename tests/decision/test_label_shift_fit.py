import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from decision import softmax
from decision.label_shift import Known, NotIdentifiable
from decision.label_shift_fit import LabelShiftFit, label_shift_fit, maximum_likelihood

K = 4
SIZES = np.array([4000, 1200, 300, 60])
SOURCE = SIZES / SIZES.sum()


def probabilities(labels: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """Exact probabilities under SOURCE of Gaussian classes; `scale` other than 1 is another world."""
    x = scale * (rng.normal(size=(len(labels), K)) + 2.0 * np.eye(K)[labels])
    return softmax(2.0 * x + np.log(SOURCE))


def known(rng: np.random.Generator) -> Known:
    labels = np.repeat(np.arange(K), SIZES)
    return Known(probabilities(labels, rng), labels, SOURCE)


def fit(mix: np.ndarray, n: int, seed: int, scale: float = 1.0) -> LabelShiftFit:
    rng = np.random.default_rng(seed)
    labels = rng.choice(K, n, p=mix)
    return label_shift_fit(probabilities=probabilities(labels, rng, scale), holdout=known(rng))


@pytest.mark.parametrize(("mix", "n"), [(SOURCE, 500), (SOURCE, 5000), (SOURCE[::-1], 2000), (np.full(K, 0.25), 5000)])
def test_a_shift_of_priors_alone_is_rejected_no_more_often_than_it_says(mix: np.ndarray, n: int) -> None:
    p_values = np.array([fit(mix, n, seed).p_value for seed in range(200)])
    assert np.mean(p_values <= 0.05) <= 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(p_values <= 0.01) <= 0.01 + 3.5 * np.sqrt(0.01 * 0.99 / 200)
    assert np.mean(p_values <= 0.5) >= 0.25, "it looks"


def test_p_values_are_uniform_where_no_live_prior_is_near_0() -> None:
    p_values = [fit(np.array([0.4, 0.3, 0.2, 0.1]), 2000, seed).p_value for seed in range(200)]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.001


@pytest.mark.parametrize("mix", [SOURCE, np.full(K, 0.25)])
def test_images_that_look_different_are_found(mix: np.ndarray) -> None:
    rejected = [fit(mix, 2000, seed, scale=0.75).p_value <= 0.05 for seed in range(40)]
    assert np.mean(rejected) >= 0.9


def test_a_class_that_nobody_has_seen_is_found_and_where() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(K, 5000, p=SOURCE)
    live = probabilities(labels, rng)
    live[:500] = softmax(rng.normal(0, 0.1, (500, K)) + np.log(SOURCE) + [0.0, 2.0, 0.0, 0.0])
    found = label_shift_fit(probabilities=live, holdout=known(rng))
    assert found.p_value < 1e-6
    worst = np.abs(found.observed - found.expected).argmax()
    assert found.predicted[worst] in (0, 1)


def test_classes_may_die_out() -> None:
    held_out = np.array([[90.0, 5.0, 0.0], [10.0, 90.0, 0.0], [0.0, 5.0, 1e-3]])
    shares, priors = maximum_likelihood(held_out, np.array([1e6, 0.0, 0.0]))
    assert np.isfinite(shares).all()
    assert priors[0] == pytest.approx(1.0, abs=1e-4)
    rng = np.random.default_rng(0)
    live = probabilities(np.zeros(200_000, dtype=np.int64), rng)
    assert 0.0 <= label_shift_fit(probabilities=live[live.argmax(axis=1) == 0], holdout=known(rng)).p_value < 1e-9


def test_the_fit_finds_the_live_priors() -> None:
    found = fit(np.array([0.1, 0.2, 0.3, 0.4]), 20_000, 1)
    np.testing.assert_allclose(found.priors, [0.1, 0.2, 0.3, 0.4], atol=0.06)
    assert found.expected.sum() == pytest.approx(1.0)
    assert found.n == 20_000


def test_the_maximum_agrees_with_a_general_optimiser() -> None:
    held_out = np.array([[40.0, 5.0], [30.0, 15.0], [20.0, 30.0], [10.0, 50.0]])
    seen = np.array([20.0, 60.0, 30.0, 90.0])

    def loss(free: np.ndarray) -> float:
        shares = softmax(np.column_stack([free[:6].reshape(2, 3), np.zeros(2)])).T
        q = softmax(np.array([[free[6], 0.0]]))[0]
        return -float((held_out * np.log(shares)).sum() + (seen * np.log(shares @ q)).sum())

    best = min((scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-8})
                for start in (np.zeros(7), np.ones(7))), key=lambda found: found.fun)  # fmt: skip
    shares, priors = maximum_likelihood(held_out, seen)
    reached = float((held_out * np.log(shares)).sum() + (seen * np.log(shares @ priors)).sum())
    assert reached == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)


def test_the_p_value_is_the_tail_of_chi_square() -> None:
    found = fit(SOURCE, 3000, 3)
    assert found.p_value == pytest.approx(scipy.stats.chi2.sf(found.statistic, found.degrees))
    assert found.degrees == len(found.observed) - K
    assert len(found.observed) == len(found.expected) == len(found.predicted)


def test_the_order_of_the_classes_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    holdout, live = known(rng), probabilities(rng.choice(K, 3000, p=np.full(K, 0.25)), rng)
    order = np.array([2, 0, 3, 1])
    moved = Known(holdout.probabilities[:, order], np.argsort(order)[holdout.labels], SOURCE[order])
    one, other = (label_shift_fit(probabilities=p, holdout=h) for p, h in ((live, holdout), (live[:, order], moved)))
    assert other.statistic == pytest.approx(one.statistic, abs=1e-3)
    np.testing.assert_allclose(other.priors, one.priors[order], atol=1e-3)


def test_what_cannot_be_tested_says_so() -> None:
    holdout = known(np.random.default_rng(0))
    with pytest.raises(NotIdentifiable, match="expected at least 200 answers for 4 classes, got 199"):
        label_shift_fit(probabilities=holdout.probabilities[:199], holdout=holdout)
    few = Known(holdout.probabilities[::60], holdout.labels[::60], SOURCE)
    most = np.bincount(few.probabilities.argmax(axis=1)).max()
    said = (
        "the label-shift test needs a class that at least 100 held-out images and 40 answers are predicted to be "
        rf"\(the nearest has {most} and [0-9,]+\): more held-out images would do$"
    )
    with pytest.raises(NotIdentifiable, match=said):
        label_shift_fit(probabilities=holdout.probabilities, holdout=few)
    alike = Known(np.tile([0.7, 0.1, 0.1, 0.1], (140, 1)), np.arange(140) % K, SOURCE)
    with pytest.raises(NotIdentifiable, match="more bins than classes, 4, of which some are never predicted"):
        label_shift_fit(probabilities=np.tile(alike.probabilities, (2, 1)), holdout=alike)
    with pytest.raises(NotIdentifiable, match="every class"):
        label_shift_fit(
            probabilities=np.eye(3)[np.zeros(150, dtype=int)],
            holdout=Known(np.eye(3)[[0, 1]], np.array([0, 1]), np.full(3, 1 / 3)),
        )
    for bad in (np.eye(3), np.zeros((0, K)), np.zeros(K), np.full((9, K), np.nan), np.ones((9, K))):
        with pytest.raises(ValueError, match="expected probabilities of"):
            label_shift_fit(probabilities=bad, holdout=holdout)
