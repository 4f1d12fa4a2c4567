import base64
import io
import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.training.comparisons import box_of
from training.axes import Axis
from training.charts import SHAPES, Dots, Line, dot_chart, heat_map, line_chart, shortened, squeezed

UNIT = Axis("share", 0.0, 1.0)


def paths(svg: str, key: str) -> list[str]:
    return re.findall(rf'<path class="{key}" d="([^"]*)"', svg)


def test_a_line_goes_through_its_points_and_stops_where_there_are_none() -> None:
    x, y = np.array([0.0, 0.25, 0.5, 1.0]), np.array([1.0, 0.5, math.nan, 0.0])
    svg = line_chart("t", [Line("m3 off", x, y)], UNIT, Axis("y", 0, 2))
    left, top, width, height = box_of(svg)
    (path,) = paths(svg, "m3 off")
    strokes = [np.array(part.split(), dtype=float).reshape(-1, 2) for part in path.split("M")[1:]]
    assert [len(stroke) for stroke in strokes] == [2, 1]
    drawn = np.concatenate(strokes)
    there = np.isfinite(y)
    expected = np.stack([left + width * x[there], top + height * (1 - y[there] / 2)], axis=1)
    np.testing.assert_allclose(drawn, expected, atol=0.051)


def test_marks_name_where_a_line_stands() -> None:
    svg = line_chart("t", [], UNIT, UNIT, marks=[(0.0, "first"), (0.95, "the second")])
    assert ">first</text>" in svg
    assert re.search(r'class="end">the second</text>', svg), "on the left of its line, where there is room"


def test_marks_stand_at_their_values_in_their_rows() -> None:
    value = np.array([0.0, math.nan, 1.0])
    svg = dot_chart("t", ["a", "b", "c"], [Dots("m1", value, value - 0.1, value + 0.1, shape=1)], UNIT, row_height=20)
    (marks,) = paths(svg, "mark")
    (bars,) = paths(svg, "bar")
    places = np.array(re.findall(r"M([\d.]+) ([\d.]+)" + re.escape(SHAPES[1]), marks), dtype=float)
    assert len(places) == 2
    assert len(re.findall("M", bars)) == 2
    assert places[1, 0] - places[0, 0] == pytest.approx(360 - 12 - 8)
    assert places[1, 1] - places[0, 1] == pytest.approx(2 * (20 + 14))


def test_dots_without_bars_have_none() -> None:
    svg = dot_chart("t", ["a"], [Dots("m1", np.array([0.5]))], UNIT, row_height=20, gutter=50)
    assert not paths(svg, "bar")
    assert len(paths(svg, "mark")) == 1


def test_a_heat_map_is_as_opaque_as_its_shares() -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.25, 0.75, 0.0], [math.nan] * 3])
    svg = heat_map("t", shares, ["a", "b", "c"], "true", "decision")
    image = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]*)", svg)[1]))).convert("RGBA")
    np.testing.assert_allclose(np.asarray(image)[..., 3] / 255, np.nan_to_num(shares), atol=0.5 / 63 + 0.5 / 255)
    assert re.findall(r'class="mid (?:high|ink)">(\d+)<', svg) == ["90", "10", "25", "75"]


def test_a_large_heat_map_has_no_numbers() -> None:
    names = [f"class {i}" for i in range(13)]
    svg = heat_map("t", np.eye(13), names, "true", "decision")
    assert ">100<" not in svg
    assert ">100<" in heat_map("t", np.eye(12), names[:12], "true", "decision")


HOSTILE = '<script>alert("1")</script>&\'"'


@pytest.mark.parametrize(
    "svg",
    [
        line_chart(HOSTILE, [Line(HOSTILE, np.zeros(2), np.zeros(2))], Axis(HOSTILE, 0, 1), Axis(HOSTILE, 0, 1),
                   marks=[(0.5, HOSTILE)]),
        dot_chart(HOSTILE, [HOSTILE] * 2, [Dots(HOSTILE, np.zeros(2))], Axis(HOSTILE, 0, 1), row_height=9),
        dot_chart(HOSTILE, [HOSTILE] * 2, [Dots("m0", np.zeros(2))], Axis(HOSTILE, 0, 1), row_height=9, gutter=120),
        heat_map(HOSTILE, np.eye(2), [HOSTILE] * 2, HOSTILE, HOSTILE),
        heat_map(HOSTILE, np.eye(20), [HOSTILE] * 20, HOSTILE, HOSTILE),
    ],
)  # fmt: skip
def test_text_stays_text_and_the_chart_has_a_name(svg: str) -> None:
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == HOSTILE
    assert root.attrib["viewBox"].startswith("0 0 360 ")
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "text", "image"}
    assert "nan" not in svg.replace(HOSTILE, "")


@given(name=st.text(max_size=60), room=st.floats(20, 200))
def test_a_cut_name_fits_and_keeps_its_head_or_both_ends(name: str, room: float) -> None:
    most = int(room / 6)
    for cut in (shortened(name, room), squeezed(name, room)):
        assert len(cut) <= most
        assert (cut == name) == (len(name) <= most)
    if len(name) > most:
        head, _, tail = squeezed(name, room).rpartition("…")
        assert name.startswith(head)
        assert name.endswith(tail)
