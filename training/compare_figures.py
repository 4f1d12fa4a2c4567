"""The figures of compare.html that judge: ROC and precision-recall curves, recalls by class, confusion matrices."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from training import charts
from training.axes import Axis
from training.charts import Dots, Line
from training.compare_curves import FPR, RECALL, confusion, mean_chance
from training.compare_view import View, area

CORNER = 0.2  # false positive rate up to which the left corner of ROC curves is drawn
CLASSES_A_PANEL = 8

# The script writes the class that is chosen into these.
_OF = '<b class="of">mean over classes</b>'


def roc(view: View) -> str:
    """True over false positive rates, whole and in the corner where rare classes are decided."""
    figures = _roc_chart(view, "ROC", "", 1.0)
    figures += _roc_chart(view, "ROC, left corner", f", false positive rate up to {CORNER}", CORNER)
    kept, k = len(view.kept), len(view.order)
    some = "" if kept == k else f"The list of classes has the {kept} rarest of {k}, for the size of the page."
    return (
        f'<div class="grid">{figures}</div>'
        f"{_areas(view, 'roc', [area(view.curves[m].auc[:, 0]) for m in view.methods])}"
        '<p class="note">Area under the curve, mean ± standard error over seeds. One class against the rest, by '
        "calibrated probability: the rule plays no part. The mean over classes averages true positive rates at equal "
        f"false positive rates (Fawcett 2006, section 8), then seeds. Dotted: chance. {some}</p>"
    )


def _roc_chart(view: View, name: str, more: str, high: float) -> str:
    drawn = high >= FPR
    lines = [Line("reference", np.array([0.0, high]), np.array([0.0, high]))]
    lines += [Line(view.key(i), FPR[drawn], view.curves[m].roc[0, drawn]) for i, m in enumerate(view.methods)]
    x, y = Axis("false positive rate", 0.0, high), Axis("true positive rate", 0.0, 1.0)
    data = f' data-curve="roc" data-high="{high:g}"'
    chart = charts.line_chart(f"{name}, by method", lines, x, y, data=data)
    return f'<figure class="shared"><figcaption>{_OF}{more}</figcaption>{chart}</figure>'


def precision_recall(view: View) -> str:
    """Precision over recall."""
    lines = [Line("reference chance", np.array([0.0, 1.0]), np.full(2, mean_chance(view.mix)))]
    lines += [Line(view.key(i), RECALL, view.curves[m].precision[0]) for i, m in enumerate(view.methods)]
    chart = charts.line_chart("Precision over recall, by method", lines, Axis("recall", 0.0, 1.0),
                              Axis("precision", 0.0, 1.0), data=' data-curve="pr" data-high="1"')  # fmt: skip
    areas = [area(view.curves[m].average_precision[:, 0]) for m in view.methods]
    return (
        f'<div class="beside"><figure class="shared"><figcaption>{_OF}</figcaption>{chart}</figure>'
        f"{_areas(view, 'pr', areas)}</div>"
        '<p class="note">Average precision, mean ± standard error over seeds. The mean over classes averages, at equal '
        "recalls, the precision where each class first reaches that recall (steps, no straight lines: Davis and "
        "Goadrich 2006), then seeds. Precision is at the class mix of the test split: on another mix it is another. "
        "Dotted: chance, the share of the class.</p>"
    )


def _areas(view: View, curve: str, areas: Sequence[str]) -> str:
    """A legend with the areas under the curves, the largest first."""
    items = "".join(
        f'<li class="{view.key(i)}" style="order:{_place(areas[i])}">{view.legend(i)} <b>{escape(areas[i])}</b></li>'
        for i in range(len(view.methods))
    )
    return f'<ul class="legend" data-area="{curve}">{items}</ul>'


def _place(area: str) -> int:
    head = area.split(" ")[0]
    return 0 if head == "–" else -round(10_000 * float(head))


def recalls(view: View) -> str:
    """Recall of each class under each rule."""
    parts = np.array_split(np.arange(len(view.order)), math.ceil(len(view.order) / CLASSES_A_PANEL))
    figures = "".join(_recall_panel(view, r, part) for r in range(len(view.rules)) for part in parts)
    items = "".join(f'<li class="{view.key(i)}">{view.legend(i)}</li>' for i in range(len(view.methods)))
    return (
        f'<ul class="legend">{items}</ul><div class="grid">{figures}</div><p class="note">Classes from the most to the '
        "least frequent, with their images in train. Bars: ± 1 standard error over seeds.</p>"
    )


def _recall_panel(view: View, r: int, part: NDArray[np.int64]) -> str:
    rule = view.rules[r]
    dots = []
    for i, m in enumerate(view.methods):
        found = [view.estimate(m, rule, f"recall/{view.names[k]}") for k in part]
        mean, error = (np.array([getattr(e, name) for e in found]) for name in ("mean", "error"))
        low, high = np.clip(mean - error, 0, 1), np.clip(mean + error, 0, 1)
        dots.append(Dots(view.key(i), mean, low, high, i, (i % 6 - 2.5) * 1.8))
    name = f"Recall of classes {part[0] + 1} to {part[-1] + 1}, rule {rule}"
    rows = [f"{view.names[k]} · {view.counts[k]:,}" for k in part]
    chart = charts.dot_chart(name, rows, dots, Axis("recall", 0.0, 1.0), row_height=18)
    return f'<figure class="shared by-rule r{r}"><figcaption>rule <b>{rule}</b></figcaption>{chart}</figure>'


def confusions(view: View) -> str:
    """A confusion matrix for each method and rule."""
    figures = "".join(_confusion_panel(view, i, r) for i in range(len(view.methods)) for r in range(len(view.rules)))
    inside = "numbers in per cent of the true class" if len(view.order) <= charts.NUMBERED else (
        "the darker, the larger the share of the true class")  # fmt: skip
    return (
        f'<div class="grid">{figures}</div><p class="note">True classes down, decisions across, both from the most to '
        f"the least frequent class; {inside}, mean over seeds.</p>"
    )


def _confusion_panel(view: View, i: int, r: int) -> str:
    method, rule = view.methods[i], view.rules[r]
    shares = confusion(view.cells(method), rule, view.order)
    chart = charts.heat_map(f"Confusion matrix of {method}, rule {rule}", shares, view.names, "true", "decision")
    return f'<figure class="{view.key(i)} by-rule r{r}"><figcaption>{view.legend(i)}</figcaption>{chart}</figure>'
