import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.axes import Axis, covering, linear_ticks, log_ticks, number


def steps_of(ticks: list[float]) -> float:
    """The mantissa of the distance between ticks."""
    step = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
    return round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6)


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-2, 1e6))
def test_linear_ticks_are_few_and_round_and_enclose_the_range(low: float, width: float) -> None:
    ticks = linear_ticks(low, low + width)
    slack = 1e-6 * width
    assert 2 <= len(ticks) <= 6
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0], rtol=1e-6)
    assert steps_of(ticks) in (1, 2, 5)
    assert linear_ticks(ticks[0], ticks[-1]) == ticks


@given(low=st.floats(1e-6, 1e6), ratio=st.floats(1.001, 1e9))
def test_log_ticks_are_few_and_round_and_enclose_the_range(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low * (1 + 1e-7)
    assert ticks[-1] >= low * ratio * (1 - 1e-7)
    assert all(float(f"{t:.0e}") == t and f"{t:.0e}"[0] in "125" for t in ticks)
    assert log_ticks(ticks[0], ticks[-1]) == ticks


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.2, [0, 0.05, 0.1, 0.15, 0.2]),
        (-3, 41, [-20, 0, 20, 40, 60]),
    ],
)
def test_some_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert linear_ticks(low, high) == ticks


def test_ticks_of_a_whole_axis_are_whole() -> None:
    assert Axis("class", 0.5, 2.5, whole=True).ticks() == [1, 2]
    assert Axis("class", 0.5, 1.5, whole=True).ticks() == [1]


@pytest.mark.parametrize(
    ("values", "log", "ends"),
    [
        ([], False, (0, 1)),
        ([], True, (1, 10)),
        ([math.nan, math.inf], False, (0, 1)),
        ([5, 5], False, (2, 8)),
        ([0], False, (-0.5, 0.5)),
        ([0, -1, 30, 3000], True, (20, 5000)),
        ([7], True, (2, 20)),
        ([0.13, 0.87, math.nan], False, (0, 1)),
    ],
)
def test_an_axis_covers_what_can_be_drawn(values: list[float], log: bool, ends: tuple[float, float]) -> None:
    axis = covering("x", values, log=log)
    assert (axis.low, axis.high) == ends
    assert (axis.ticks()[0], axis.ticks()[-1]) == ends


def test_an_axis_places_its_ends_and_middle() -> None:
    np.testing.assert_allclose(Axis("x", -1, 3).at([-1, 1, 3]), [0, 0.5, 1])
    np.testing.assert_allclose(Axis("x", 1, 100, log=True).at([1, 10, 100]), [0, 0.5, 1])
    np.testing.assert_allclose(Axis("x", 1, 100, log=True).at([0, 0.5]), [0, 0])


@pytest.mark.parametrize(
    ("value", "text"), [(1e4, "10,000"), (-20.0, "−20"), (0.05, "0.05"), (0.0, "0"), (2e6, "2,000,000")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
