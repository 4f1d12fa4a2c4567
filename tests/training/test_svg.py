import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.svg import drawing, n, stroke, text

HOSTILE = '<script>alert("1")</script>&\'"'


@given(st.floats(-1e6, 1e6))
def test_a_coordinate_is_the_value_to_a_tenth(value: float) -> None:
    assert float(n(value)) == pytest.approx(value, abs=0.05 + 1e-9)
    assert re.fullmatch(r"-?\d+(\.\d)?", n(value))


@pytest.mark.parametrize(("value", "short"), [(0.0, "0"), (-0.04, "0"), (12.0, "12"), (0.25, "0.2"), (-3.16, "-3.2")])
def test_a_coordinate_is_short_and_never_negative_zero(value: float, short: str) -> None:
    assert n(value) == short


def test_a_stroke_lifts_the_pen_where_there_is_no_point() -> None:
    points = np.array([[0, 1], [2, 3], [math.nan, 4], [5, math.inf], [6, 7], [8, 9]], dtype=float)
    assert stroke(points) == "M0 1 2 3M6 7 8 9"
    assert stroke(np.empty((0, 2))) == ""


def test_words_stay_words() -> None:
    root = ET.fromstring(drawing(HOSTILE, 10, 20, [text(1, 2, HOSTILE, "ink")], ' data-a="b"'))
    assert root.attrib == {"class": "chart", "viewBox": "0 0 10 20", "role": "img", "aria-label": HOSTILE,
                           "data-a": "b"}  # fmt: skip
    (word,) = root
    assert (word.text, word.attrib) == (HOSTILE, {"x": "1", "y": "2", "class": "ink"})
