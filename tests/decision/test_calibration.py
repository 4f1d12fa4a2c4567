import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision import Calibration, softmax
from tests.decision.strategies import CLASSES, logits


@given(CLASSES.flatmap(logits))
def test_temperature_1_without_bias_is_softmax(z: np.ndarray) -> None:
    calibration = Calibration(1.0, np.zeros(z.shape[1]))
    np.testing.assert_array_equal(calibration.probabilities(z), softmax(z))


@given(CLASSES.flatmap(logits), st.floats(0.05, 20))
def test_a_temperature_keeps_the_ranking(z: np.ndarray, temperature: float) -> None:
    calibration = Calibration(temperature, np.zeros(z.shape[1]))
    ranked = np.take_along_axis(calibration.logits(z), np.argsort(z, axis=1), axis=1)
    assert (np.diff(ranked, axis=1) >= 0).all()


def test_by_hand() -> None:
    p = Calibration(2.0, np.array([np.log(3), 0.0])).probabilities([[2.0, 2.0], [0.0, 2 * np.log(3)]])
    np.testing.assert_allclose(p, [[0.75, 0.25], [0.5, 0.5]])


def test_it_is_frozen() -> None:
    calibration = Calibration(1.0, np.zeros(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        calibration.temperature = 2.0
    with pytest.raises(ValueError, match="read-only"):
        calibration.bias[0] = 1.0


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_is_positive_and_finite(temperature: float) -> None:
    with pytest.raises(ValueError, match="positive, finite temperature"):
        Calibration(temperature, np.zeros(2))


@pytest.mark.parametrize("bias", [np.zeros((2, 2)), np.array([np.nan, 0.0])])
def test_a_bias_is_a_finite_vector(bias: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite bias"):
        Calibration(1.0, bias)


def test_logits_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="logits of 2 classes, got 3"):
        Calibration(1.0, np.zeros(2)).probabilities([[0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="logits of 2 classes, got 1"):
        Calibration(1.0, np.zeros(2)).probabilities([[0.0]])
