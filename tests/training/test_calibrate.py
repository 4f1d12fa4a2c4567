import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from decision import Calibration, softmax
from training.calibrate import choose, fit_bias_corrected, fit_calibration, fit_temperature, mean_and_error

MIX = np.log(2.0) * np.array([1.5, 0.5, -0.5, -1.5])
"""The bias of a class mix 8:4:2:1."""


def made(seed: int, n: int = 3000, temperature: float = 1.0, bias: np.ndarray = MIX) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature + bias)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, len(bias)))
    p = softmax(z / temperature + bias)
    return z, (rng.random((n, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)


def nll(calibration: Calibration, z: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(calibration.probabilities(z)[np.arange(len(y)), y]).mean())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.floats(0.3, 3.0))
def test_unpenalised_the_mean_probability_is_the_class_frequency(seed: int, temperature: float) -> None:
    z, y = made(seed, temperature=temperature)
    p = fit_bias_corrected(z, y, ridge=0.0).probabilities(z)
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(y, minlength=4) / len(y), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.floats(0.3, 3.0))
def test_unpenalised_the_mean_logit_of_the_true_class_is_the_expected_one(seed: int, temperature: float) -> None:
    z, y = made(seed, temperature=temperature)
    p = fit_temperature(z, y, ridge=0.0).probabilities(z)
    assert z[np.arange(len(y)), y].mean() == pytest.approx((p * z).sum(axis=1).mean(), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.floats(0.3, 3.0), st.integers(8, 400), st.sampled_from([0.0, 1.0]))
def test_the_nll_never_rises_on_the_fitting_data(seed: int, temperature: float, n: int, ridge: float) -> None:
    z, y = made(seed, n=n, temperature=temperature)
    plain = nll(Calibration(1.0, np.zeros(4)), z, y)
    scaled, corrected = (nll(fit(z, y, ridge=ridge), z, y) for fit in (fit_temperature, fit_bias_corrected))
    assert scaled <= plain + 1e-12
    assert corrected <= plain + 1e-12
    assert nll(fit_calibration(z, y, ridge=ridge, seed=0), z, y) in (scaled, corrected)
    if ridge == 0.0:
        assert corrected <= scaled + 1e-9, "temperature scaling is a bias-corrected one"


@pytest.mark.parametrize("fit", [fit_temperature, fit_bias_corrected])
def test_the_ridge_pulls_towards_the_plain_softmax(fit) -> None:
    z, y = made(4, n=100, temperature=2.0)
    sizes = [
        np.log(c.temperature) ** 2 + (c.bias**2).sum() for c in (fit(z, y, ridge=r) for r in (0.0, 1.0, 10.0, 1e6))
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-6 < sizes[0]


def test_it_finds_the_temperature_and_the_bias_the_labels_were_drawn_with() -> None:
    calibration = fit_calibration(*made(1, n=100_000, temperature=2.0), seed=0)
    assert calibration.temperature == pytest.approx(2.0, rel=0.03)
    np.testing.assert_allclose(calibration.bias, MIX, atol=0.04)


def test_bias_correction_agrees_with_a_general_optimiser() -> None:
    z, y = made(2, n=500)

    def loss(parameters: np.ndarray) -> float:
        log_p = scipy.special.log_softmax(z / parameters[0] + [0.0, *parameters[1:]], axis=1)
        return float(-log_p[np.arange(len(y)), y].mean())

    reference = scipy.optimize.minimize(loss, [1.0, 0, 0, 0], method="Nelder-Mead",
                                        options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000})  # fmt: skip
    found = fit_bias_corrected(z, y, ridge=0.0)
    assert nll(found, z, y) == pytest.approx(reference.fun, abs=1e-9)
    assert found.temperature == pytest.approx(reference.x[0], rel=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_temperature_agrees_with_a_scalar_optimiser(temperature: float, ridge: float) -> None:
    z, y = made(5, n=400, temperature=temperature)

    def loss(log_t: float) -> float:
        log_p = scipy.special.log_softmax(z * np.exp(-log_t), axis=1)
        return float(-log_p[np.arange(len(y)), y].sum() + ridge / 2 * log_t**2)

    reference = scipy.optimize.minimize_scalar(loss, bounds=(-5, 5), options={"xatol": 1e-10})
    found = fit_temperature(z, y, ridge=ridge)
    assert found.temperature == pytest.approx(np.exp(reference.x), rel=1e-4)
    np.testing.assert_array_equal(found.bias, 0.0)


def gaussians(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of three overlapping classes, 57:10:1."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1, 2] * 3, rng.choice(3, n - 9, p=np.array([57, 10, 1]) / 68)])
    return rng.normal(size=(n, 6)) + np.eye(3, 6)[y] * 1.5, y


def logits_of(weighting: str | None, seed: int) -> tuple[LogisticRegression, np.ndarray, np.ndarray]:
    """A classifier trained on the natural mix or rebalanced, and what it is to be calibrated on."""
    model = LogisticRegression(class_weight=weighting).fit(*gaussians(seed, 5000))
    return model, *gaussians(seed + 1000, 1000)


def test_the_temperature_agrees_with_scikit_learns() -> None:
    model, x, y = logits_of(None, 0)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x, y)
    ours = fit_temperature(model.decision_function(x), y, ridge=0.0)
    np.testing.assert_allclose(
        ours.probabilities(model.decision_function(x)), theirs.predict_proba(x), rtol=1e-4, atol=1e-9
    )


def chooses_bias(weighting: str | None, seed: int) -> bool:
    model, x, y = logits_of(weighting, seed)
    return bool(fit_calibration(model.decision_function(x), y, seed=seed).bias.any())


def test_a_network_trained_rebalanced_gets_its_bias_corrected() -> None:
    assert all(chooses_bias("balanced", seed) for seed in range(10))


def test_a_network_trained_on_the_natural_mix_is_left_with_a_temperature() -> None:
    assert sum(chooses_bias(None, seed) for seed in range(20)) <= 5


def test_without_a_bias_in_the_world_the_simpler_one_wins() -> None:
    chosen = [choose(*made(seed, n=300, bias=np.zeros(4)), seed=seed) for seed in range(40)]
    assert chosen.count(fit_bias_corrected) <= 8


def test_a_bias_that_images_agree_on_is_corrected_though_they_differ_in_hardness() -> None:
    z, y = made(0, n=1000, bias=0.3 * MIX)
    one, two = (fit(z, y).probabilities(z)[np.arange(1000), y] for fit in (fit_temperature, fit_bias_corrected))
    unpaired = scipy.stats.sem(np.log(two))
    assert 0 < np.log(two / one).mean() < unpaired, "within the standard error of the better model's own NLL"
    assert choose(z, y, seed=0) is fit_bias_corrected


def test_copies_of_images_are_no_evidence() -> None:
    def chosen(seed: int, *, related: bool) -> bool:
        z, y = made(seed, n=20, bias=np.zeros(4))
        rows = np.repeat(np.arange(20), 20)
        return choose(z[rows], y[rows], rows if related else None, seed=seed) is fit_bias_corrected

    assert sum(chosen(seed, related=True) for seed in range(20)) <= 4
    assert sum(chosen(seed, related=False) for seed in range(20)) >= 16


def test_the_choice_is_the_seeds() -> None:
    z, y = made(6, n=60)
    first, again = (fit_calibration(z, y, seed=3) for _ in range(2))
    assert first.temperature == again.temperature
    np.testing.assert_array_equal(first.bias, again.bias)


def test_the_standard_error_is_that_of_independent_draws() -> None:
    values = np.random.default_rng(0).exponential(size=50)
    mean, error = mean_and_error(values, np.arange(50))
    assert (mean, error) == pytest.approx((values.mean(), scipy.stats.sem(values)))
    rows = np.repeat(np.arange(50), 7)
    assert mean_and_error(values[rows], rows) == pytest.approx((mean, error))


def test_the_standard_error_of_unequal_groups_is_the_spread_of_many_draws() -> None:
    rng = np.random.default_rng(0)

    def draw() -> tuple[float, float]:
        sizes = rng.integers(1, 6, 80)
        groups = np.repeat(np.arange(80), sizes)
        return mean_and_error((rng.normal(size=80) + sizes)[groups] + rng.normal(size=len(groups)), groups)

    means, errors = np.transpose([draw() for _ in range(2000)])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.06)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 12), st.sampled_from([0.0, 1.0]))
def test_the_smallest_splits_can_be_fitted(data: st.DataObject, n: int, ridge: float) -> None:
    z = np.array(data.draw(st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=n, max_size=n)))
    y = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    groups = np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    calibration = fit_calibration(z, y, groups, ridge=ridge, seed=0)
    assert nll_of_logits(calibration, z, y) <= nll_of_logits(Calibration(1.0, np.zeros(3)), z, y) + 1e-9


def nll_of_logits(calibration: Calibration, z: np.ndarray, y: np.ndarray) -> float:
    """Where a probability may be too small for a float."""
    return float(-scipy.special.log_softmax(calibration.logits(z), axis=1)[np.arange(len(y)), y].mean())


def test_a_single_group_gets_a_temperature() -> None:
    z, y = made(7, n=500)
    np.testing.assert_array_equal(fit_calibration(z, y, np.zeros(500), seed=0).bias, 0.0)
    assert fit_calibration(z, y, seed=0).bias.any()


def test_a_split_without_an_error_gives_no_certainty() -> None:
    y = np.array([0, 1, 2] * 5)
    calibration = fit_calibration(10 * np.eye(3)[y], y, seed=0)
    assert 0.2 < calibration.temperature < 1.0
    np.testing.assert_array_equal(calibration.bias, 0.0)


def test_a_class_of_one_image_keeps_a_small_bias() -> None:
    z, y = made(3, n=200, bias=MIX[:3])
    y = np.where(y == 2, 0, y)
    y[0] = 2
    assert np.abs(fit_bias_corrected(z, y).bias).max() < 4.0
    assert fit_calibration(z, y, seed=0).temperature > 0


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([0, 1], None, "expected at least one image and a label for each, got 3 and labels"),
        ([0, 1, 2], None, "expected labels from 0 to 1, got 0 to 2"),
        ([0, 1, -1], None, "expected labels from 0 to 1, got -1 to 1"),
        ([0, 1, 1], [0, 1], "expected a group for each of 3 images"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(labels: list, groups: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_calibration(np.zeros((3, 2)), labels, groups, seed=0)


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one image"):
        fit_temperature(np.zeros((0, 2)), [])
