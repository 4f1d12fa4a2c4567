import json
import re
from typing import Any

import numpy as np

from tests.training.comparisons import HOSTILE, METHODS, RIVALS, Page, made
from training.compare_curves import FPR, RECALL, curves_of
from training.compare_script import controls, data
from training.compare_view import View
from training.comparison import BASELINE, RULES, Comparison


def data_of(comparison: Comparison) -> dict[str, Any]:
    return json.loads(data(View(comparison)))


def test_the_script_has_the_curves_of_each_method_by_class() -> None:
    view, held = View(made()), data_of(made())
    assert held["roc"]["x"] == FPR.round(4).tolist()
    assert held["pr"]["x"] == RECALL.round(4).tolist()
    for i, method in enumerate(view.methods):
        curves = curves_of(view.cells(method), 3)
        for place, row in enumerate([0, 3, 2, 1]):  # the mean, then the rarest class first
            assert held["roc"]["y"][place][i] == np.round(1000 * curves.roc[row]).astype(int).tolist()
            assert held["pr"]["y"][place][i] == np.round(1000 * curves.precision[row]).astype(int).tolist()
            assert held["roc"]["area"][place][i].startswith(f"{curves.auc[:, row].mean():.4f} ± ")
            assert held["pr"]["area"][place][i].startswith(f"{curves.average_precision[:, row].mean():.4f} ± ")
    assert held["chance"] == [333, 330, 335, 335]


def test_the_classes_to_choose_from_are_the_rarest_first() -> None:
    assert re.findall(r"<option value=\"\d\">(class \d+)", controls(View(made()))) == [
        "class 002", "class 001", "class 000"]  # fmt: skip
    assert len(data_of(made(100, METHODS[:5], seeds=(0,)))["roc"]["y"]) == 65


def test_baseline_and_the_best_five_are_shown_first() -> None:
    values = {m: np.mean([c.metrics["published"]["balanced_accuracy"] for c in made().of(m)]) for m in RIVALS}
    best = [BASELINE, *sorted(RIVALS, key=lambda m: -values[m])[:5]]
    boxes = re.findall(
        r'<input type="checkbox" value="(\d+)"( checked)?>.*?<span>([^<]*)</span>', controls(View(made()))
    )
    assert [name for _, checked, name in boxes if checked] == best
    shown = data_of(made())["best"]
    assert len(shown) == len(RULES)
    assert sorted(shown[0]) == [int(i) for i, checked, _ in boxes if checked]


def test_no_name_ends_the_element_of_the_data_or_makes_an_element_of_its_own() -> None:
    view = View(made(HOSTILE, (BASELINE, *HOSTILE)))
    assert "<" not in data(view)
    page, plain = Page(controls(view)), Page(controls(View(made(4, (BASELINE, *"abcd")))))
    assert [tag for tag, _ in page.elements if tag != "wbr"] == [tag for tag, _ in plain.elements]
    for name in HOSTILE:
        assert name in page.text()
