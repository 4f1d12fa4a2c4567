"""compare.html: one self-contained page on which an engineer sees which remedy for imbalance works on these data."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from training.compare_figures import confusions, precision_recall, recalls, roc
from training.compare_head import definitions, head, title
from training.compare_metrics import metrics
from training.compare_phases import class_counts, learning
from training.compare_script import SCRIPT, content_policy, controls, data
from training.compare_style import style
from training.compare_verdict import verdict
from training.compare_view import View
from training.comparison import Comparison


@dataclass(frozen=True)
class Section:
    """A part of the page that its head links to."""

    key: str
    link: str
    title: str
    content: Callable[[View], str]


SECTIONS = (
    Section("verdict", "verdict", "Verdict", verdict),
    Section("table", "table", "All methods, all rules", metrics),
    Section("roc", "ROC", "ROC curves", roc),
    Section("precision-recall", "precision–recall", "Precision and recall", precision_recall),
    Section("recalls", "recalls", "Recall of each class", recalls),
    Section("confusion", "confusion", "Confusion matrices", confusions),
    Section("counts", "counts", "Class counts before and after", class_counts),
    Section("learning", "learning", "Learning curves", learning),
    Section("definitions", "definitions", "Definitions", definitions),
)


def render(comparison: Comparison) -> str:
    """The page as HTML. Equal comparisons give equal pages; every name in it is text, nothing in it is loaded."""
    view = View(comparison)
    first, table, *explored, last = (
        f'<section id="{s.key}"><h2>{s.title}</h2>{s.content(view)}</section>' for s in SECTIONS
    )
    return _PAGE.format(
        title=escape(title(comparison)), policy=content_policy(), style=style(len(view.methods), len(view.rules)),
        nav="".join(f'<a href="#{s.key}">{s.link}</a>' for s in SECTIONS), head=head(view), verdict=first, table=table,
        controls=controls(view), explored="\n".join(explored), definitions=last, data=data(view), script=SCRIPT,
    )  # fmt: skip


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style></head>
<body>
<header><nav>{nav}</nav>{head}{verdict}</header>
{table}
<noscript><p class="missing">The choices below need JavaScript; shown are baseline and the best others.</p></noscript>
<div class="explore" data-rule="0">
<aside class="controls" aria-label="What the charts show">{controls}</aside>
<main class="charts">{explored}
</main>
</div>
<footer>{definitions}</footer>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body></html>
"""
