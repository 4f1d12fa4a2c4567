import itertools
import re

import pytest

from training.compare_style import style


def colours_of(mode: str) -> dict[str, str]:
    """The variables of the page that are colours, by day or by night."""
    blocks = re.findall(r":root \{(.*?)\}", style(1, 1), re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#\w+);", blocks[("day", "night").index(mode)]))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("colour", "ratio"), [("#000", 21.0), ("#767676", 4.54), ("#ff0000", 4.0), ("#fff", 1.0)])
def test_contrast_is_that_of_wcag(colour: str, ratio: float) -> None:
    assert contrast(colour, "#ffffff") == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize("mode", ["day", "night"])
def test_graphics_can_be_seen_and_text_can_be_read(mode: str) -> None:
    colours = colours_of(mode)
    graphics = {f"c{i}" for i in range(7)} | {"faint", "ink"}
    assert {name: c for name in graphics if (c := contrast(colours[name], colours["paper"])) < 3} == {}
    read = {("paper", name) for name in ("ink", "muted", "accent")}
    read |= {(ground, name) for ground in ("up", "down") for name in ("ink", "muted", f"{ground}-ink")}
    assert {pair: c for pair in read if (c := contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}


def test_no_two_methods_look_alike_and_neighbours_differ_in_both() -> None:
    looks = [tuple(look) for look in re.findall(r"\.m\d+\{--c:(.*?);--d:(.*?)\}", style(36, 3))]
    assert len(set(looks)) == 36
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(looks[1:]))


def test_every_colour_that_is_used_is_set_by_day_and_by_night() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", style(36, 3))) - {"c", "d"}
    assert used <= set(colours_of("day"))
    assert set(colours_of("day")) == set(colours_of("night"))
