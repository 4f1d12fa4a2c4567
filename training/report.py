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

from decision import Decisions, Holdout, Manifest, Policy, adjust, softmax
from decision.bundle import CalibrationRecord
from training.evaluate import REWEIGHTED, before_after_change
from training.reliability import CALIBRATION, Diagram, class_diagram, top_diagram
from training.runlog import Epoch

PANELS = 24
PANEL_BINS = 10
TWENTY_COLOURS = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]

_LIMITS = "with 95% limits (Wilson), at the class mix of the test split"

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
 .limits {{ display: block; color: #555; font-size: .8rem; white-space: nowrap; }}
 .panels {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem 1rem; }}
 .panels div {{ overflow-wrap: anywhere; }} svg {{ width: 100%; height: auto; display: block; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<h2>Test metrics</h2>
<div class="wide"><table><tr><th>metric</th><th>value</th><th>95% interval</th></tr>{metrics}</table></div>
<h2>Calibration on the test split, before and after</h2>
{calibration}
<h2>Figures</h2>
{figures}
</html>
"""


def render_report(manifest: Manifest, summary: str, curve: Sequence[Epoch], policy: Policy, test: Holdout) -> str:
    """The page as HTML: metrics, calibration, class counts, learning curves, ROC, precision-recall, confusion."""
    title, classes, labels = f"Equipoise: {manifest.name}", manifest.classes, test.labels
    decisions = policy.decide(test.logits)
    p, named = decisions.probabilities, rarest(manifest)
    some = "" if len(named) == len(classes) else f"; named are the {len(named)} rarest of {len(classes)} classes"
    figures = [
        _figure("Images of each class in each split", lambda ax: _counts(ax, classes, manifest.counts)),
        _figure("Learning curves; the calibrate loss is under the phase's own class mix", lambda ax: _curve(ax, curve)),
        _figure(f"ROC, one class against the rest{some}", lambda ax: _roc(ax, classes, p, labels, named)),
        _figure(f"Precision and recall, one class against the rest{some}",
                lambda ax: _pr(ax, classes, p, labels, named)),
        _figure("Confusion matrix: shares of each true class", lambda ax: _confusion(ax, classes, decisions, labels)),
        *_reliability_figures(manifest, policy, test),
    ]  # fmt: skip
    return _PAGE.format(
        title=html.escape(title), summary=html.escape(summary), metrics=_metric_rows(manifest),
        calibration=_calibration(manifest), figures="".join(figures),
    )  # fmt: skip


def rarest(manifest: Manifest) -> list[str]:
    """The classes that there is room for, rarest in training first."""
    return sorted(manifest.classes, key=manifest.counts["train"].__getitem__)[:PANELS]


def _metric_rows(manifest: Manifest) -> str:
    """All metrics but those of calibration, which have a table of their own."""
    elsewhere = {form + end for name in CALIBRATION for form in before_after_change(name) for end in ("", REWEIGHTED)}
    return "".join(
        f"<tr><td>{html.escape(name)}</td><td>{m.value:.4f}</td><td>{m.low:.4f} to {m.high:.4f}</td></tr>"
        for name, m in manifest.metrics.items() if name not in elsewhere
    )  # fmt: skip


def _calibration(manifest: Manifest) -> str:
    """What was chosen, and each metric before, after and its change, on the test split as it is and re-weighted."""
    rows = ""
    for mix, end in (("test split as it is", ""), ("re-weighted to the calibration priors", REWEIGHTED)):
        rows += f'<tr><th colspan="4">{mix}</th></tr>'
        for name in CALIBRATION:
            cells = "".join(_interval_cell(manifest, form + end) for form in before_after_change(name))
            rows += f"<tr><td>{name}</td>{cells}</tr>"
    return (
        f"<p>Chosen by cross-validated NLL on the calibrate split: {html.escape(chosen(manifest.calibration))}. "
        "Calibrated probabilities are those of a population with the calibration priors: where the test split has "
        "another class mix, the re-weighted rows judge them. Smaller is better; a change below 0 is a gain.</p>\n"
        '<div class="wide"><table class="calibration"><tr><th>metric</th><th>before</th><th>after</th>'
        f"<th>change, paired</th></tr>{rows}</table></div>"
    )


def _interval_cell(manifest: Manifest, name: str) -> str:
    m = manifest.metrics[name]
    return f'<td>{m.value:.4f}<span class="limits">{m.low:.4f} to {m.high:.4f}</span></td>'


def chosen(record: CalibrationRecord) -> str:
    """The calibration in words, with its temperature, and the span of its biases where it has any."""
    temperature = f"temperature {record.temperature:.3f}"
    if not any(record.bias.values()):
        return f"temperature scaling, {temperature}"
    least, most = (f(record.bias, key=record.bias.__getitem__) for f in (min, max))
    return (f"bias-corrected temperature scaling, {temperature}, "
            f"biases from {record.bias[least]:.2f} ({least}) to {record.bias[most]:.2f} ({most})")  # fmt: skip


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
    ticks = np.arange(len(classes)) + 0.4 - width / 2
    ax.set_xticks(ticks, classes, rotation=45, ha="right", fontsize=_tick_size(classes))
    ax.legend()


def _tick_size(classes: Sequence[str]) -> float:
    """In points: what keeps the names of many classes apart."""
    return min(10.0, 300 / len(classes))


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


def _roc(
    ax: Axes, classes: tuple[str, ...], p: NDArray[np.float64], labels: NDArray[np.int64], named: Sequence[str]
) -> None:
    for name, positive, probability in _one_vs_rest(classes, p, labels):
        false_positive, true_positive, _ = roc_curve(positive, probability)
        label = f"{name} ({auc(false_positive, true_positive):.3f})" if name in named else None
        ax.plot(false_positive, true_positive, label=label, linewidth=1)
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    ax.set(xlabel="false positive rate", ylabel="true positive rate")
    ax.legend(fontsize="small", ncols=2)


def _pr(
    ax: Axes, classes: tuple[str, ...], p: NDArray[np.float64], labels: NDArray[np.int64], named: Sequence[str]
) -> None:
    for name, positive, probability in _one_vs_rest(classes, p, labels):
        precision, recall, _ = precision_recall_curve(positive, probability)
        ax.plot(recall, precision, label=name if name in named else None, linewidth=1)
    ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    ax.legend(fontsize="small", ncols=2)


def _confusion(ax: Axes, classes: tuple[str, ...], decisions: Decisions, labels: NDArray[np.int64]) -> None:
    decided = decisions.labels >= 0
    names = range(len(classes))
    matrix = confusion_matrix(labels[decided], decisions.labels[decided], labels=names, normalize="true")
    ax.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    ax.set(xlabel="decision", ylabel="true class")
    ax.set_xticks(names, classes, rotation=45, ha="right", fontsize=_tick_size(classes))
    ax.set_yticks(names, classes, fontsize=_tick_size(classes))
    for (i, j), share in np.ndenumerate(matrix):
        if share >= 0.005 and len(classes) <= PANELS:  # in smaller cells the colour has to do
            colour = "white" if share > 0.5 else "black"
            ax.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)


def _reliability_figures(manifest: Manifest, policy: Policy, test: Holdout) -> list[str]:
    """Of the most probable class, before and after; and of each class by itself, after.

    Moved to the class mix of the images: what thinning made rarer than in the test split is not miscalibrated.
    """
    classes, labels, groups = manifest.classes, test.labels, test.groups
    priors = np.array([manifest.calibration_priors[name] for name in classes])
    mix = np.bincount(labels, minlength=len(classes)) / len(labels)
    before, after = (adjust(p, from_=priors, to=mix)
                     for p in (softmax(test.logits), policy.calibration.probabilities(test.logits)))  # fmt: skip
    lines = {"before": top_diagram(before, labels, groups), "after": top_diagram(after, labels, groups)}
    panels = [
        _panel(f"{name} (n = {(labels == k).sum():,})", class_diagram(after, labels, groups, k, PANEL_BINS))
        for name, k in ((name, classes.index(name)) for name in rarest(manifest))
    ]
    caption = f"Reliability of the most probable class before and after calibration: 15 bins of equal mass, {_LIMITS}"
    return [_figure(caption, lambda ax: _reliability(ax, lines)), _grid(panels, len(classes))]


def _reliability(ax: Axes, lines: Mapping[str, Diagram]) -> None:
    ax.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, d in lines.items():
        ax.errorbar(d.predicted, d.observed, (d.observed - d.low, d.high - d.observed), marker="o", elinewidth=0.8,
                    label=name)  # fmt: skip
    ax.set(xlabel="probability of the most probable class", ylabel="share of hits", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.legend()


def _grid(panels: Sequence[str], n_classes: int) -> str:
    """Small multiples that a narrow screen stacks in fewer columns."""
    which = "each class" if len(panels) == n_classes else f"the {len(panels)} rarest of {n_classes} classes"
    caption = (
        f"Reliability of {which} after calibration, the rarest in training first: predicted probability of the class "
        f"(across) against its observed share (up), {_LIMITS}; {PANEL_BINS} bins of equal mass, an image's mass being "
        "p(1 − p)"
    )
    return f'<figure><div class="panels">{"".join(panels)}</div><figcaption>{caption}</figcaption></figure>\n'


def _panel(title: str, d: Diagram) -> str:
    """One class as SVG, 100 units a side, the origin at the lower left."""
    x, y, low, high = 100 * d.predicted, *(100 - 100 * share for share in (d.observed, d.low, d.high))
    bars = "".join(f"M{a:.1f} {b:.1f}V{c:.1f}" for a, b, c in zip(x, low, high, strict=True))
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in zip(x, y, strict=True))
    text = html.escape(title)
    return (
        f'<div>{text}<svg viewBox="-14 -6 120 120" role="img" aria-label="Reliability of {text}">'
        '<path d="M0 0H100V100H0ZM0 100L100 0" fill="none" stroke="#bbb" stroke-width=".7"/>'
        f'<path d="{bars}" stroke="#1f77b4" stroke-width="1"/><g fill="#1f77b4">{dots}</g>'
        '<g font-size="9" fill="#555"><text x="-8" y="103">0</text><text x="-8" y="4">1</text>'
        '<text x="0" y="112" text-anchor="middle">0</text><text x="100" y="112" text-anchor="middle">1</text></g>'
        "</svg></div>"
    )
