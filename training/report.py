"""report.html: one self-contained page on one run, readable on a phone, loading nothing from anywhere."""

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import auc, confusion_matrix, precision_recall_curve, roc_curve

from decision import Decisions, Manifest
from training.evaluate import reliability
from training.phases import Epoch

TWENTY_COLOURS = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 0 auto;
   padding: 1rem; }}
 figure {{ margin: 2rem 0; }} img {{ width: 100%; height: auto; }} figcaption {{ color: #555; }}
 table {{ border-collapse: collapse; }}
 td, th {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }}
 td:first-child, th:first-child {{ text-align: left; }} .wide {{ overflow-x: auto; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<h2>Test metrics</h2>
<div class="wide"><table><tr><th>metric</th><th>value</th><th>95% interval</th></tr>{metrics}</table></div>
{figures}
</html>
"""


def render_report(
    manifest: Manifest, summary: str, curve: Sequence[Epoch], decisions: Decisions, labels: NDArray[np.int64]
) -> str:  # fmt: skip
    """The page as HTML: metrics, class counts, learning curves, ROC, precision-recall, confusion, reliability."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{m.value:.4f}</td><td>{m.low:.4f} to {m.high:.4f}</td></tr>"
        for name, m in manifest.metrics.items()
    )
    title, classes, p = f"Equipoise: {manifest.name}", manifest.classes, decisions.probabilities
    figures = [
        _figure("Images of each class in each split", lambda ax: _counts(ax, classes, manifest.counts)),
        _figure("Learning curves; the calibrate loss is under the phase's own class mix", lambda ax: _curve(ax, curve)),
        _figure("ROC, one class against the rest", lambda ax: _roc(ax, classes, p, labels)),
        _figure("Precision and recall, one class against the rest", lambda ax: _pr(ax, classes, p, labels)),
        _figure("Confusion matrix: shares of each true class", lambda ax: _confusion(ax, classes, decisions, labels)),
        _figure("Reliability of the label, 15 bins of equal mass", lambda ax: _reliability(ax, decisions, labels)),
    ]  # fmt: skip
    return _PAGE.format(title=html.escape(title), summary=html.escape(summary), metrics=rows, figures="".join(figures))


def _figure(caption: str, draw: Callable[[Axes], None]) -> str:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=TWENTY_COLOURS)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>\n'


def _counts(ax: Axes, classes: tuple[str, ...], counts: Mapping[str, Mapping[str, int]]) -> None:
    width = 0.8 / len(counts)
    for i, (split, table) in enumerate(counts.items()):
        ax.bar(np.arange(len(classes)) + i * width, [table[name] for name in classes], width, label=split)
    ax.set(yscale="log", ylabel="images")
    ax.set_xticks(np.arange(len(classes)) + 0.4 - width / 2, classes, rotation=45, ha="right")
    ax.legend()


def _curve(ax: Axes, curve: Sequence[Epoch]) -> None:
    steps = np.arange(1, len(curve) + 1)
    ax.plot(steps, [epoch.train_loss for epoch in curve], label="train")
    ax.plot(steps, [epoch.calibrate_loss for epoch in curve], label="calibrate")
    for i in range(1, len(curve)):
        if curve[i].phase != curve[i - 1].phase:
            ax.axvline(i + 0.5, color="grey", linestyle=":")
            ax.annotate(f"{curve[i].phase} →", (i + 0.6, 0.95), xycoords=("data", "axes fraction"))
    ax.set(xlabel="epoch", ylabel="loss (nats)")
    ax.legend()


def _one_vs_rest(
    classes: tuple[str, ...], p: NDArray[np.float64], labels: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    for k, name in enumerate(classes):
        yield name, labels == k, p[:, k]


def _roc(ax: Axes, classes: tuple[str, ...], p: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    for name, positive, probability in _one_vs_rest(classes, p, labels):
        false_positive, true_positive, _ = roc_curve(positive, probability)
        ax.plot(false_positive, true_positive, label=f"{name} ({auc(false_positive, true_positive):.3f})", linewidth=1)
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    ax.legend(fontsize="small", ncols=2)


def _pr(ax: Axes, classes: tuple[str, ...], p: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    for name, positive, probability in _one_vs_rest(classes, p, labels):
        precision, recall, _ = precision_recall_curve(positive, probability)
        ax.plot(recall, precision, label=name, linewidth=1)
    ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    ax.legend(fontsize="small", ncols=2)


def _confusion(ax: Axes, classes: tuple[str, ...], decisions: Decisions, labels: NDArray[np.int64]) -> None:
    decided = decisions.labels >= 0
    names = range(len(classes))
    matrix = confusion_matrix(labels[decided], decisions.labels[decided], labels=names, normalize="true")
    ax.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    ax.set(xlabel="decision", ylabel="true class")
    ax.set_xticks(names, classes, rotation=45, ha="right")
    ax.set_yticks(names, classes)
    for (i, j), share in np.ndenumerate(matrix):
        if share >= 0.005:
            colour = "white" if share > 0.5 else "black"
            ax.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)


def _reliability(ax: Axes, decisions: Decisions, labels: NDArray[np.int64]) -> None:
    confidence, hit, _ = reliability(decisions, labels, np.ones(len(labels)))
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    ax.plot(confidence, hit, marker="o")
    ax.set(xlabel="probability of the label", ylabel="share of hits", xlim=(0, 1), ylim=(0, 1))
