import math
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.training.comparisons import CURVE, Page, box_of, made
from training.compare_phases import EPOCHS_DRAWN, class_counts, learning
from training.compare_view import View
from training.comparison import BASELINE, Comparison
from training.sampling import Kind, Sampling


def only(comparison: Comparison) -> str:
    """The learning curve of the one method there is, as SVG."""
    (svg,) = re.findall(r'<svg class="chart".*?</svg>', learning(View(comparison)))
    return svg


@pytest.mark.parametrize("kind", ["natural", "oversample", "undersample", "mixture"])
def test_class_sizes_are_those_of_train_and_of_the_resampled_data(kind: Kind) -> None:
    comparison = made(4, (BASELINE,), seeds=(0, 1))
    train = np.array(list(comparison.counts.values()))
    sizes = Sampling(kind).sizes(train)
    drawn = {"first": dict(zip(comparison.classes, sizes.tolist(), strict=True)), "second": comparison.counts}
    page = class_counts(View(replace(comparison, cells=tuple(replace(c, drawn=drawn) for c in comparison.cells))))
    (svg,) = re.findall(r'<svg class="chart".*?</svg>', page)
    left, top, width, height = box_of(svg)
    for key, expected in (("grey", train), ("m0 solid", sizes), ("m0 dashed", train)):
        path = re.search(rf'<path class="{key}" d="M([^"]*)"', svg)[1]
        across, down = np.array(path.split(), dtype=float).reshape(-1, 2).T
        np.testing.assert_allclose(0.5 + 4 * (across - left) / width, [1, 2, 3, 4], atol=0.1 * 4 / width)
        shown = 200 * (1000 / 200) ** (1 - (down - top) / height)
        np.testing.assert_allclose(shown, expected, rtol=0.01)
    assert Page(page).text("small") == "— first, – – second"


def test_no_word_takes_class_sizes_for_draws() -> None:
    text = class_counts(View(made()))
    note = Page(text).text("p")
    assert "for each phase the class sizes of the resampled data that its draws stand for" in note
    assert "their mix, not the length of an epoch" in note
    assert not re.search(r"(epoch|method|phase) draws|drawn by", text)


def test_sizes_of_phases_are_means_over_the_seeds_that_have_them() -> None:
    comparison = made(2, (BASELINE,), seeds=(0, 1, 2))
    drawn = ({"a": {"class 000": 100.0, "class 001": 10.0}}, {"a": {"class 000": 300.0, "class 001": 30.0}}, {})
    cells = tuple(replace(c, drawn=d) for c, d in zip(comparison.cells, drawn, strict=True))
    comparison = replace(comparison, cells=cells, counts={"class 000": 200, "class 001": 20})
    svg = class_counts(View(comparison))
    paths = {key: re.search(rf'<path class="{key}" d="([^"]*)"', svg)[1] for key in ("grey", "m0 solid")}
    assert paths["grey"] == paths["m0 solid"]


def test_a_phase_begins_when_the_last_seed_has_finished_the_one_before() -> None:
    def rows(*lengths: int) -> tuple[dict[str, object], ...]:
        return tuple({**CURVE[0], "phase": name, "epoch": e + 1}
                     for name, n in zip("ab", lengths, strict=True) for e in range(n))  # fmt: skip

    comparison = made(methods=(BASELINE,), seeds=(0, 1))
    cells = (replace(comparison.cells[0], curve=rows(2, 3)), replace(comparison.cells[1], curve=rows(5, 1)))
    svg = only(replace(comparison, cells=cells))
    left, _, width, _ = box_of(svg)
    uprights = np.array(re.findall(r'<path class="frame" d="M(\S+) ', svg), dtype=float)
    np.testing.assert_allclose((uprights - left) / width * 8, [0, 5], atol=0.1)
    starts = [float(at) for at in re.findall(r'<path class="m0 solid thin" d="M(\S+) ', svg)]
    np.testing.assert_allclose((np.array(starts) - left) / width * 8 + 0.5, [1, 6, 1, 6], atol=0.1)


def test_long_curves_are_thinned_from_the_first_epoch_to_the_last() -> None:
    rows = tuple({**CURVE[0], "epoch": e, "train_loss": 1 / e} for e in range(1, 1001))
    comparison = made(methods=(BASELINE,), seeds=(0,))
    svg = only(replace(comparison, cells=(replace(comparison.cells[0], curve=rows),)))
    left, _, width, _ = box_of(svg)
    path = re.search(r'<path class="grey thin" d="M([^"]*)"', svg)[1]
    across = np.array(path.split(), dtype=float)[::2]
    assert len(across) == EPOCHS_DRAWN
    np.testing.assert_allclose((across[[0, -1]] - left) / width * 1000 + 0.5, [1, 1000], atol=0.2)


def test_losses_that_diverge_leave_gaps() -> None:
    rows = [{**CURVE[0], "epoch": e, "train_loss": loss} for e, loss in enumerate((1.0, math.inf, math.nan, 2.0), 1)]
    text = learning(View(replace(made(), cells=tuple(replace(cell, curve=tuple(rows)) for cell in made().cells))))
    assert not re.search(r'd="[^"]*(nan|inf)', text)


def test_a_run_without_a_curve_says_so() -> None:
    bare = replace(made(), cells=tuple(replace(cell, curve=()) for cell in made().cells))
    assert learning(View(bare)).count("No learning curve.") == 8
