from dataclasses import replace

import numpy as np

from tests.training.comparisons import METHODS, RIVALS, made, with_metric
from training.compare_view import BEST, View, area
from training.comparison import BASELINE


def test_classes_go_from_the_most_to_the_least_frequent() -> None:
    view = View(replace(made(4), counts={"class 002": 9, "class 000": 5, "class 003": 5}))
    assert view.order.tolist() == [2, 0, 3, 1], "equal ones keep their order, one without images is last"
    assert view.names == ["class 002", "class 000", "class 003", "class 001"]
    assert view.counts == [9, 5, 5, 0]


def test_methods_go_by_balanced_accuracy_behind_baseline() -> None:
    values = {m: (0.1 * i,) * 3 for i, m in enumerate(METHODS)} | {"focal": (np.nan,) * 3}
    comparison = with_metric(made(), values, "balanced_accuracy")
    view = View(replace(comparison, cells=tuple(c for c in comparison.cells if c.method != "smote")))
    ranked = [m for m in reversed(RIVALS) if m not in ("focal", "smote")]
    assert view.methods == [BASELINE, *ranked, "focal"], "without a metric last, without cells not at all"
    assert view.initial("argmax") == [BASELINE, *ranked[:BEST]]
    assert view.first == [0, 1, 2, 3, 4, 5]
    assert [view.key(i) for i in (0, 6)] == ["m0", "m6 off"]


def test_a_page_keeps_as_many_curves_as_it_has_room_for() -> None:
    assert View(made(3)).kept == [2, 1, 0], "rarest first"
    assert View(made(100, METHODS[:5], seeds=(0,))).kept == list(range(99, 35, -1))
    cells = [replace(cell, labels=np.where(cell.labels == 2, 0, cell.labels)) for cell in made(3).cells]
    assert View(replace(made(3), cells=tuple(cells))).kept == [1, 0], "a class without test images has none"


def test_an_area_has_four_decimals() -> None:
    assert area(np.array([0.9, 0.92, 0.94])) == "0.9200 ± 0.0115"
    assert area(np.array([np.nan])) == "–"
