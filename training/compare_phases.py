"""The figures of compare.html about training: class sizes before and after resampling, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import charts
from training.axes import Axis, covering
from training.charts import Line
from training.compare_view import View
from training.comparison import Cell

HEIGHT = 190
EPOCHS_DRAWN = 101
POINTED = 30  # classes, above which points on a line run together
DASHES = (("solid", "—"), ("dashed", "– –"), ("", "···"))
"""Of the first, the second and any further phase: CSS class, and how its caption shows it."""

Array = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]


def class_counts(view: View) -> str:
    """Class sizes in train, and after the resampling of each phase."""
    train = np.array(view.counts, dtype=np.float64)
    drawn = {m: _drawn(view.cells(m), view.names) for m in view.methods}
    every = [train, *(sizes for phases in drawn.values() for sizes in phases.values())]
    y = covering("images", np.concatenate(every), log=True)
    figures = "".join(_counts_panel(view, i, train, drawn[m], y) for i, m in enumerate(view.methods))
    return (
        f'<div class="grid">{figures}</div><p class="note">Class by class, from the most to the least frequent, '
        "numbered as in the confusion matrices: images in train (grey), and for each phase the class sizes of the "
        "resampled data that its draws stand for: their mix, not the length of an epoch. Log axis; what lies on its "
        "lower edge may be 0.</p>"
    )


def _drawn(cells: Sequence[Cell], names: Sequence[str]) -> dict[str, Array]:
    """Class sizes of the resampled data of each phase, mean over seeds."""
    phases = dict.fromkeys(phase for cell in cells for phase in cell.drawn)
    return {phase: np.mean([[cell.drawn[phase].get(name, 0.0) for name in names] for cell in cells
                            if phase in cell.drawn], axis=0) for phase in phases}  # fmt: skip


def _counts_panel(view: View, i: int, train: Array, drawn: Mapping[str, Array], y: Axis) -> str:
    k, points = np.arange(1.0, len(train) + 1), len(train) <= POINTED
    dashes = [DASHES[min(j, len(DASHES) - 1)] for j in range(len(drawn))]
    lines = [Line("grey", k, train, points)]
    lines += [Line(f"m{i} {key}", k, sizes, points) for (key, _), sizes in zip(dashes, drawn.values(), strict=True)]
    x = Axis("class", 0.5, len(train) + 0.5, whole=True)
    chart = charts.line_chart(f"Class sizes in train and as resampled by {view.methods[i]}", lines, x, y, height=HEIGHT)
    words = ", ".join(f"{dash} {phase}".replace(" ", "\N{NO-BREAK SPACE}")
                      for (_, dash), phase in zip(dashes, drawn, strict=True))  # fmt: skip
    return (f'<figure class="{view.key(i)}"><figcaption>{view.legend(i)} <small>{escape(words)}</small></figcaption>'
            f"{chart}</figure>")  # fmt: skip


def learning(view: View) -> str:
    """Loss per epoch of each method."""
    figures = "".join(
        f'<figure class="{view.key(i)}"><figcaption>{view.legend(i)}</figcaption>{_learning_chart(view, i)}</figure>'
        for i in range(len(view.methods))
    )
    return (
        f'<div class="grid">{figures}</div><p class="note">Loss per epoch, each seed a thin line: train (grey) and '
        "calibrate (colour, under the class mix of the phase). Each method minimises a loss of its own, so compare "
        "shapes, not heights. A phase begins at its upright line.</p>"
    )


def _learning_chart(view: View, i: int) -> str:
    cells = view.cells(view.methods[i])
    starts = _phase_starts(cells)
    lines = [line for cell in cells for line in _losses(_thinned(cell.curve), starts, i)]
    losses = np.concatenate([np.empty(0), *(line.y for line in lines)])
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return '<p class="note">No learning curve.</p>'
    log = bool(losses.min() > 0 and losses.max() > 8 * losses.min())
    y = covering("loss, log axis" if log else "loss", losses, log=log)
    last = max(line.x.max() for line in lines if line.x.size)
    marks = [(start + 0.5, phase) for phase, start in starts.items()]
    x = Axis("epoch", 0.5, last + 0.5, whole=True)
    return charts.line_chart(f"Learning curves of {view.methods[i]}", lines, x, y, marks=marks, height=HEIGHT)


def _losses(rows: Rows, starts: Mapping[str, int], i: int) -> list[Line]:
    """Both losses of one run, a line for each phase."""
    epochs = np.array([starts[row["phase"]] + row["epoch"] for row in rows], dtype=np.float64)
    lines = []
    for name, key in (("train_loss", "grey thin"), ("calibrate_loss", f"m{i} solid thin")):
        loss = np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        lines += [Line(key, epochs[of], loss[of]) for of in _by_phase(rows)]
    return lines


def _phase_starts(cells: Sequence[Cell]) -> dict[str, int]:
    """Epochs before each phase, which begins when the last seed has finished the one before."""
    longest: dict[str, int] = {}
    for row in (row for cell in cells for row in cell.curve):
        longest[row["phase"]] = max(longest.get(row["phase"], 0), int(row["epoch"]))
    ends = np.cumsum([0, *longest.values()]).tolist()
    return dict(zip(longest, ends, strict=False))


def _thinned(curve: Rows) -> Rows:
    """Not more rows than can be told apart, first and last among them."""
    n = min(len(curve), EPOCHS_DRAWN)
    return [curve[j] for j in np.unique(np.linspace(0, len(curve) - 1, n).round().astype(int))] if n else []


def _by_phase(rows: Rows) -> list[NDArray[np.int64]]:
    names = [row["phase"] for row in rows]
    return [np.array([j for j, name in enumerate(names) if name == phase]) for phase in dict.fromkeys(names)]
