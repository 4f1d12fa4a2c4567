"""The figures of a run's report that matplotlib draws, each as HTML with its image inside."""

import base64
import html
import io
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import auc, confusion_matrix, precision_recall_curve, roc_curve

from training.reliability import Diagram
from training.runlog import Epoch

LARGEST_MATRIX = 24  # classes, above which a cell has no room for its share
LONGEST_NAME = 24
TWENTY_COLOURS = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]


def drawn_names(classes: Sequence[str]) -> tuple[str, ...]:
    """What the figures call each class: its name, or `#` and its place, from 1, where that cannot be drawn as it is.

    So are names in letters that the font lacks, written from right to left, not printable, of more than 24 characters,
    or with what matplotlib reads as mathematics (`$`) or as no label (`_` in front).
    """
    return tuple(name if _drawable(name) else f"#{k}" for k, name in enumerate(classes, 1))


def _drawable(name: str) -> bool:
    plain = len(name) <= LONGEST_NAME and name.isprintable() and "$" not in name and not name.startswith("_")
    turned = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return plain and not turned and _letters().issuperset(map(ord, name))


@lru_cache
def _letters() -> frozenset[int]:
    """Code points that the figures' font has."""
    return frozenset(font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap())


def figure(caption: str, draw: Callable[[Axes], None]) -> str:
    """What `draw` puts on axes, as HTML with the image inside."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=TWENTY_COLOURS)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>\n'


def draw_counts(ax: Axes, names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> None:
    """Images of each class `(K,)` in each split, side by side."""
    width = 0.8 / len(counts)
    for i, (split, table) in enumerate(counts.items()):
        ax.bar(np.arange(len(names)) + i * width, table, width, label=split)
    ax.set(yscale="log", ylabel="images")
    ticks = np.arange(len(names)) + 0.4 - width / 2
    ax.set_xticks(ticks, names, rotation=45, ha="right", fontsize=_tick_size(names))
    ax.legend()


def draw_curve(ax: Axes, curve: Sequence[Epoch]) -> None:
    """Losses by epoch, the phases marked off. An epoch is a dot: one alone has no line."""
    steps = np.arange(1, len(curve) + 1)
    ax.plot(steps, [epoch.train_loss for epoch in curve], marker=".", label="train")
    calibrate = np.array([epoch.calibrate_loss for epoch in curve], dtype=np.float64)  # None is NaN
    ax.plot(steps, calibrate, marker=".", label="calibrate")
    for i in range(1, len(curve)):
        if curve[i].phase != curve[i - 1].phase:
            ax.axvline(i + 0.5, color="grey", linestyle=":")
            ax.annotate(f"{curve[i].phase} →", (i + 0.6, 0.95), xycoords=("data", "axes fraction"))
    ax.set(xlabel="epoch", ylabel="loss (nats)")
    ax.locator_params("x", integer=True)
    ax.legend()


def draw_roc(
    ax: Axes, names: Sequence[str | None], probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    """Each class against the rest; those with a name are in the legend, with their AUC."""
    for k, name in enumerate(names):
        false_positive, true_positive, _ = roc_curve(labels == k, probabilities[:, k])
        label = None if name is None else f"{name} ({auc(false_positive, true_positive):.3f})"
        ax.plot(false_positive, true_positive, label=label, linewidth=1)
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    ax.legend(fontsize="small", ncols=2)


def draw_precision_recall(
    ax: Axes, names: Sequence[str | None], probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    """Each class against the rest; those with a name are in the legend."""
    for k, name in enumerate(names):
        precision, recall, _ = precision_recall_curve(labels == k, probabilities[:, k])
        ax.plot(recall, precision, label=name, linewidth=1)
    ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    ax.legend(fontsize="small", ncols=2)


def draw_confusion(ax: Axes, names: Sequence[str], decided: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Shares of each true class, of the images that were decided (`decided` ≥ 0)."""
    one, places = decided >= 0, range(len(names))
    matrix = confusion_matrix(labels[one], decided[one], labels=places, normalize="true")
    ax.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    ax.set(xlabel="decision", ylabel="true class")
    ax.set_xticks(places, names, rotation=45, ha="right", fontsize=_tick_size(names))
    ax.set_yticks(places, names, fontsize=_tick_size(names))
    for (i, j), share in np.ndenumerate(matrix):
        if share >= 0.005 and len(names) <= LARGEST_MATRIX:  # in smaller cells the colour has to do
            colour = "white" if share > 0.5 else "black"
            ax.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)


def draw_reliability(ax: Axes, lines: Mapping[str, Diagram]) -> None:
    """Shares of hits, with their limits, against probabilities."""
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, d in lines.items():
        ax.errorbar(d.predicted, d.observed, (d.observed - d.low, d.high - d.observed), marker="o", elinewidth=0.8,
                    label=name)  # fmt: skip
    ax.set(xlabel="probability of the most probable class", ylabel="share of hits", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.legend()


def _tick_size(names: Sequence[str]) -> float:
    """In points: what keeps the names of many classes apart."""
    return min(10.0, 300 / len(names))
