import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from decision import softmax
from tests.decision.strategies import CLASSES, logits


@given(st.data())
def test_softmax_agrees_with_scipy(data: st.DataObject) -> None:
    z = data.draw(CLASSES.flatmap(lambda k: logits(k, 1e4)))
    np.testing.assert_allclose(softmax(z), scipy.special.softmax(z, axis=1), rtol=1e-12, atol=1e-300)


@given(st.data(), st.floats(-100, 100))
def test_a_constant_added_to_a_row_changes_nothing(data: st.DataObject, constant: float) -> None:
    z = data.draw(CLASSES.flatmap(logits))
    np.testing.assert_allclose(softmax(z + constant), softmax(z), rtol=1e-9)


def test_extreme_logits_stay_finite() -> None:
    np.testing.assert_array_equal(softmax([[1e4, -1e4]]), [[1.0, 0.0]])


def test_the_argument_is_not_changed() -> None:
    z = np.array([[1.0, 2.0]])
    softmax(z)
    np.testing.assert_array_equal(z, [[1.0, 2.0]])


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[[1.0]]], [[np.nan, 0.0]], [[np.inf, 0.0]]])
def test_other_shapes_and_values_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        softmax(bad)
