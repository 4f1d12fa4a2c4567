import random as random_

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision import PolicyError, adjust, softmax
from decision.priors import priors_from_mapping
from tests.decision.strategies import CLASSES, logits, priors


@st.composite
def a_shift(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    k = draw(CLASSES)
    return softmax(draw(logits(k, 8.0))), draw(priors(k)), draw(priors(k)), draw(priors(k))


@given(a_shift())
def test_equal_priors_change_nothing(shift: tuple[np.ndarray, ...]) -> None:
    p, a, _, _ = shift
    np.testing.assert_allclose(adjust(p, from_=a, to=a), p, rtol=1e-12)


@given(a_shift())
def test_adjustments_compose_and_invert(shift: tuple[np.ndarray, ...]) -> None:
    p, a, b, c = shift
    there = adjust(p, from_=a, to=b)
    np.testing.assert_allclose(adjust(there, from_=b, to=c), adjust(p, from_=a, to=c), rtol=1e-9)
    np.testing.assert_allclose(adjust(there, from_=b, to=a), p, rtol=1e-9)


@given(a_shift(), st.randoms())
def test_permuting_the_classes_commutes(shift: tuple[np.ndarray, ...], random: random_.Random) -> None:
    p, a, b, _ = shift
    order = list(range(len(a)))
    random.shuffle(order)
    np.testing.assert_allclose(adjust(p[:, order], from_=a[order], to=b[order]), adjust(p, from_=a, to=b)[:, order])


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_two_classes_shift_their_log_odds(p: float, a: float, b: float) -> None:
    adjusted = adjust([[p, 1 - p]], from_=[a, 1 - a], to=[b, 1 - b])[0]
    shift = np.log(b / (1 - b)) - np.log(a / (1 - a))
    assert np.log(adjusted[0] / adjusted[1]) == pytest.approx(np.log(p / (1 - p)) + shift, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "from_", "to"),
    [
        ([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]),
        ([[0.5, 0.5]], [0.5, 0.5], [1.0]),
        ([[-0.5, 1.5]], [0.5, 0.5], [0.5, 0.5]),
        ([[0.5, 0.5]], [0.0, 1.0], [0.5, 0.5]),
    ],
)
def test_what_cannot_be_adjusted_is_refused(p: object, from_: object, to: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        adjust(p, from_=from_, to=to)


@pytest.mark.parametrize(
    ("given_", "pointer", "says"),
    [
        ({"a": 0.5, "b": 0.5, "c": 0.0}, "/p/c", "unknown class"),
        ({"a": 1.0}, "/p", "no prior for class 'b'"),
        ({"a": 1.0, "b": 0.0}, "/p/b", "at least 1e-06, got 0.0"),
        ({"a": 0.5, "b": 0.4}, "/p", "sum of 0.9"),
        ({"a": 0.5, "b": 0.500002}, "/p", "sum of 1"),
    ],
)
def test_priors_that_cannot_be_are_pointed_at(given_: dict[str, float], pointer: str, says: str) -> None:
    with pytest.raises(PolicyError) as refused:
        priors_from_mapping(given_, ("a", "b"), at="/p")
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert says in str(refused.value)


def test_the_tolerance_is_divided_out() -> None:
    priors = priors_from_mapping({"b": 0.5, "a": 0.5000009}, ("a", "b"))
    assert priors.sum() == pytest.approx(1.0, abs=1e-15)
    assert priors[0] > priors[1]


@pytest.mark.parametrize(
    ("p", "from_", "to"),
    [
        ([[0.5, 0.5]], [0.5, 0.5], [1.0, 0.0]),
        ([[0.5, 0.5]], [1.0, 0.0], [0.5, 0.5]),
        ([[1.1, -0.1]], [0.5, 0.5], [0.5, 0.5]),
    ],
)
def test_adjusting_asks_for_probabilities_and_priors_above_0(
    p: list[list[float]], from_: list[float], to: list[float]
) -> None:
    with pytest.raises(ValueError, match="at least 0 and priors above 0"):
        adjust(p, from_=from_, to=to)
