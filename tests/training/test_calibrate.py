import numpy as np
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from decision import Calibration, softmax
from training.calibrate import fit_calibration


def made(seed: int, n: int = 3000, k: int = 4, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature + b) for the b of a class mix 8:4:2:1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, k))
    p = softmax(z / temperature + np.log(2.0) * np.arange(k)[::-1])
    return z, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)


def nll(calibration: Calibration, z: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(calibration.probabilities(z)[np.arange(len(y)), y]).mean())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.floats(0.3, 3.0))
def test_unpenalised_the_mean_probability_is_the_class_frequency(seed: int, temperature: float) -> None:
    z, y = made(seed, temperature=temperature)
    p = fit_calibration(z, y, ridge=0.0).probabilities(z)
    np.testing.assert_allclose(p.mean(axis=0), np.bincount(y, minlength=4) / len(y), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.floats(0.3, 3.0), st.integers(8, 400))
def test_the_nll_never_rises_on_the_fitting_data(seed: int, temperature: float, n: int) -> None:
    z, y = made(seed, n=n, temperature=temperature)
    plain = Calibration(1.0, np.zeros(4))
    assert nll(fit_calibration(z, y), z, y) <= nll(plain, z, y) + 1e-12


def test_it_finds_the_temperature_and_the_bias_the_labels_were_drawn_with() -> None:
    calibration = fit_calibration(*made(1, n=200_000, temperature=2.0))
    assert calibration.temperature == pytest.approx(2.0, rel=0.02)
    expected = np.log(2.0) * np.array([1.5, 0.5, -0.5, -1.5])
    np.testing.assert_allclose(calibration.bias, expected, atol=0.03)


def test_it_agrees_with_a_general_optimiser() -> None:
    z, y = made(2, n=500)

    def loss(parameters: np.ndarray) -> float:
        log_p = scipy.special.log_softmax(z / parameters[0] + [0.0, *parameters[1:]], axis=1)
        return float(-log_p[np.arange(len(y)), y].mean())

    reference = scipy.optimize.minimize(loss, [1.0, 0, 0, 0], method="Nelder-Mead",
                                        options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000})  # fmt: skip
    found = fit_calibration(z, y, ridge=0.0)
    assert nll(found, z, y) == pytest.approx(reference.fun, abs=1e-9)
    assert found.temperature == pytest.approx(reference.x[0], rel=1e-4)


def test_a_split_without_an_error_gives_no_certainty() -> None:
    y = np.array([0, 1, 2] * 5)
    calibration = fit_calibration(10 * np.eye(3)[y], y)
    assert 0.2 < calibration.temperature < 1.0
    assert np.abs(calibration.bias).max() < 1e-6


def test_a_class_of_one_image_keeps_a_small_bias() -> None:
    z, y = made(3, n=200, k=3)
    y = np.where(y == 2, 0, y)
    y[0] = 2
    assert np.abs(fit_calibration(z, y).bias).max() < 4.0
