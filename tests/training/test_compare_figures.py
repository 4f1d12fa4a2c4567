import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import sem

from tests.training.comparisons import METHODS, Page, box_of, legend_of, made
from training.charts import SHAPES
from training.compare_curves import FPR, RECALL, confusion, curves_of
from training.compare_figures import confusions, precision_recall, recalls, roc
from training.compare_view import View
from training.comparison import RULES


def charts_of(section: str) -> list[str]:
    return re.findall(r'<svg class="chart".*?</svg>', section)


def points_of(svg: str, i: int) -> NDArray[np.float64]:
    """Where the line of the i-th method goes, in shares of the box from left to right and from bottom to top."""
    left, top, width, height = box_of(svg)
    path = re.search(rf'<path class="m{i}(?: off)?" d="M([^"]*)"', svg)[1]
    points = np.array(path.split(), dtype=float).reshape(-1, 2)
    return np.stack([(points[:, 0] - left) / width, 1 - (points[:, 1] - top) / height], axis=1)


def test_the_roc_chart_and_its_corner_go_through_the_mean_curves() -> None:
    view = View(made())
    for svg, high in zip(charts_of(roc(view)), (1.0, 0.2), strict=True):
        shown = high >= FPR
        for i, method in enumerate(view.methods):
            expected = np.stack([FPR[shown] / high, curves_of(view.cells(method), 3).roc[0, shown]], axis=1)
            np.testing.assert_allclose(points_of(svg, i), expected, atol=0.1 / box_of(svg)[3])


def test_the_precision_chart_goes_through_the_mean_curves_and_shows_chance() -> None:
    view = View(made())
    (svg,) = charts_of(precision_recall(view))
    for i, method in enumerate(view.methods):
        expected = np.stack([RECALL, curves_of(view.cells(method), 3).precision[0]], axis=1)
        np.testing.assert_allclose(points_of(svg, i), expected, atol=0.1 / box_of(svg)[3])
    _, top, _, height = box_of(svg)
    chance = float(re.search(r'class="reference chance" d="M\S+ (\S+) ', svg)[1])
    assert 1 - (chance - top) / height == pytest.approx(1 / 3, abs=0.1 / height)


@pytest.mark.parametrize(
    ("curve", "section", "name"), [("roc", roc, "auc"), ("pr", precision_recall, "average_precision")]
)
def test_the_legend_has_the_areas_largest_first(curve: str, section: Callable[[View], str], name: str) -> None:
    view = View(made())
    text = section(view)
    legend = legend_of(text, curve)
    means = {m: getattr(curves_of(view.cells(m), 3), name)[:, 0] for m in METHODS}
    assert set(legend) == set(METHODS)
    for method, shown in legend.items():
        mean, error = map(float, shown.split(" ± "))
        assert mean == pytest.approx(np.mean(means[method]), abs=5.1e-5)
        assert error == pytest.approx(np.std(means[method], ddof=1) / math.sqrt(3), abs=5.1e-5)
    places = dict(zip(legend, map(int, re.findall(r'style="order:(-?\d+)"', text)), strict=True))
    assert sorted(places, key=places.__getitem__) == sorted(means, key=lambda m: -means[m].mean())


def test_the_macro_auc_of_the_legend_is_that_of_the_metrics() -> None:
    for method, text in legend_of(roc(View(made())), "roc").items():
        areas = [cell.metrics["argmax"]["macro_auc"] for cell in made().of(method)]
        assert float(text.split(" ± ")[0]) == pytest.approx(np.mean(areas), abs=5.1e-5)


def test_when_there_are_too_many_classes_the_page_says_so() -> None:
    words = "The list of classes has the 64 rarest of 100, for the size of the page."
    assert words in roc(View(made(100, METHODS[:5], seeds=(0,))))
    assert "The list of classes" not in roc(View(made()))


def test_recalls_stand_where_the_metrics_say() -> None:
    comparison = made(10, METHODS[:2])
    panels = charts_of(recalls(View(comparison)))
    assert len(panels) == len(RULES) * 2, "panels of 8 classes at most"
    first, second = panels[:2]
    for svg, classes in ((first, comparison.classes[:5]), (second, comparison.classes[5:])):
        assert re.findall(r'class="ink">([^<]*)<', svg) == [f"{name} · {comparison.counts[name]:,}" for name in classes]
        for i, method in enumerate(METHODS[:2]):
            pattern = rf'<g class="m{i}"><path class="bar" d="([^"]*)"/><path class="mark" d="([^"]*)"'
            bars, marks = re.search(pattern, svg).groups()
            across = np.array(re.findall(r"M(\S+) \S+" + re.escape(SHAPES[i]), marks), dtype=float)
            ends = np.array(re.findall(r"M(\S+) \S+H([\d.]+)", bars), dtype=float)
            values = np.array([[c.metrics["published"][f"recall/{name}"] for c in comparison.of(method)]
                               for name in classes])  # fmt: skip
            mean, error = values.mean(axis=1), sem(values, axis=1)
            np.testing.assert_allclose((across - 8) / 340, mean, atol=0.1 / 340)
            np.testing.assert_allclose((ends[:, 0] - 8) / 340, np.maximum(mean - error, 0), atol=0.1 / 340)
            np.testing.assert_allclose((ends[:, 1] - 8) / 340, np.minimum(mean + error, 1), atol=0.1 / 340)


def test_confusion_matrices_have_their_shares_under_each_rule() -> None:
    view = View(made(methods=METHODS[:2]))
    figures = re.findall(r"<figure.*?</figure>", confusions(view))
    keys = [(i, r) for i in range(2) for r in range(len(RULES))]
    for (i, r), figure in zip(keys, figures, strict=True):
        assert figure.startswith(f'<figure class="m{i} by-rule r{r}">')
        shares = confusion(view.cells(view.methods[i]), view.rules[r], view.order)
        assert re.findall(r'class="mid (?:high|ink)">(\d+)<', figure) == [f"{100 * s:.0f}" for s in shares.flat]
    assert "numbers in per cent" in Page(confusions(view)).text("p")
    assert "the darker, the larger" in Page(confusions(View(made(13, METHODS[:1], (0,))))).text("p")
