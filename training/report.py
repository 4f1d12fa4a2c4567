"""report.html: one self-contained page on one run, readable on a phone, loading nothing from anywhere."""

import html
from collections.abc import Sequence

import numpy as np

from decision import Holdout, Manifest, Policy, adjust, softmax
from decision.bundle import CalibrationRecord
from training.evaluate import REWEIGHTED, before_after_change
from training.reliability import CALIBRATION, Diagram, class_diagram, top_diagram
from training.report_figures import (
    draw_confusion,
    draw_counts,
    draw_curve,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    drawn_names,
    figure,
)
from training.runlog import Epoch

PANELS = 24
PANEL_BINS = 10

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
    drawn = drawn_names(classes)
    in_legend = [name if full in named else None for name, full in zip(drawn, classes, strict=True)]
    counts: dict[str, list[int]] = {
        split: [table[name] for name in classes] for split, table in manifest.counts.items()
    }
    figures = [
        _key(classes, drawn),
        figure("Images of each class in each split", lambda ax: draw_counts(ax, drawn, counts)),
        figure("Learning curves; the calibrate loss is under the phase's own class mix",
               lambda ax: draw_curve(ax, curve)),
        figure(f"ROC, one class against the rest{some}", lambda ax: draw_roc(ax, in_legend, p, labels)),
        figure(f"Precision and recall, one class against the rest{some}",
               lambda ax: draw_precision_recall(ax, in_legend, p, labels)),
        figure("Confusion matrix: shares of each true class",
               lambda ax: draw_confusion(ax, drawn, decisions.labels, labels)),
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
    for mix, end in (("test split as it is", ""), ("re-weighted to the class mix of the calibrate split", REWEIGHTED)):
        rows += f'<tr><th colspan="4">{mix}</th></tr>'
        for name in CALIBRATION:
            cells = "".join(_interval_cell(manifest, form + end) for form in before_after_change(name))
            rows += f"<tr><td>{name}</td>{cells}</tr>"
    return (
        f"<p>Chosen by cross-validated NLL on the calibrate split: {html.escape(chosen(manifest.calibration))}. "
        "Calibrated probabilities are those of a population with the class mix of the calibrate split: where the "
        "test split has another, the re-weighted rows judge them. Smaller is better; a change below 0 is a gain.</p>\n"
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


def _key(classes: Sequence[str], drawn: Sequence[str]) -> str:
    """Which classes the figures have numbers for."""
    numbered = [f"{number} {name}" for name, number in zip(classes, drawn, strict=True) if number != name]
    return f"<p>In the figures: {html.escape(', '.join(numbered))}.</p>\n" if numbered else ""


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
    return [figure(caption, lambda ax: draw_reliability(ax, lines)), _grid(panels, len(classes))]


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
