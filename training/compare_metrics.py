"""The table of compare.html: every metric of every method under every rule, shaded where it differs from baseline."""

import math
from collections.abc import Sequence
from html import escape

from training.compare_view import View
from training.compare_words import breakable, many
from training.comparison import RULES, Comparison
from training.estimates import COLUMNS, SEEDS_NEEDED, Column, Estimate

SHADES = {1: (' class="up"', "<i>▲ </i>"), -1: (' class="down"', "<i>▼ </i>"), 0: ("", "")}
"""Of what is better, worse and neither: an attribute, and a mark for those who see no colours."""


def metrics(view: View) -> str:
    """How the table is read, the table, and robustness by corruption where that was measured."""
    few = "" if len(view.comparison.seeds) >= SEEDS_NEEDED else (
        f" With fewer than {SEEDS_NEEDED} seeds nothing is shaded.")  # fmt: skip
    detail = ""
    if corrupted := _corrupted(view.comparison):
        detail = f"<details><summary>Robustness by corruption</summary>{_table(view, corrupted)}</details>"
    return (
        '<p class="note">Mean ± standard error over seeds. '
        "<b>Bold</b>: the best mean of a column under a rule. Shaded: "
        '<span class="up">▲ better</span> or <span class="down">▼ worse</span> than baseline under the same rule, '
        f"the paired difference being more than 2 standard errors.{few} Of ECE, NLL and seconds, less is better; "
        f"seconds are a cost and never shaded. Tap a head to sort.</p>{_table(view, COLUMNS)}{detail}"
    )


def _corrupted(c: Comparison) -> list[Column]:
    """A column for each corruption that was measured."""
    names = dict.fromkeys(name for cell in c.cells for metrics in cell.metrics.values() for name in metrics)
    prefix = "robustness_"
    return [Column(name, escape(name.removeprefix(prefix)), "") for name in names if name.startswith(prefix)]


def _table(view: View, columns: Sequence[Column]) -> str:
    heads = "".join(
        f'<th scope="col" aria-sort="none" data-falling="{int(col.falling)}"><button>{col.head}</button></th>'
        for col in columns
    )
    first = '<th scope="col" aria-sort="none" data-falling="1"><button>method</button></th>'
    bodies = "".join(_body(view, columns, rule) for rule in view.rules)
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="Metrics"><table><thead><tr>{first}{heads}</tr>'
            f"</thead>{bodies}</table></div>")  # fmt: skip


def _body(view: View, columns: Sequence[Column], rule: str) -> str:
    """The rows of a rule, in the order in which the methods were given."""
    methods = view.comparison.methods
    cells = {(m, col.name): view.estimate(m, rule, col.name) for m in methods for col in columns}
    best = {}
    for col in columns:
        means = [cells[m, col.name].mean for m in methods if math.isfinite(cells[m, col.name].mean)]
        best[col.name] = (min if col.falling else max)(means, default=math.nan)
    rows = "".join(
        f'<tr><th scope="row" data-v="{i}">{breakable(m)}{_seeds_note(view, m)}</th>'
        + "".join(_cell(cells[m, col.name], view.difference(m, rule, col.name), col, best[col.name]) for col in columns)
        + "</tr>"
        for i, m in enumerate(methods)
    )
    head = f'<th colspan="{len(columns) + 1}" scope="rowgroup"><span><b>{rule}</b> {RULES[rule]}</span></th>'
    return f'<tbody><tr class="rule">{head}</tr>{rows}</tbody>'


def _seeds_note(view: View, method: str) -> str:
    n, of = len(view.cells(method)), len(view.comparison.seeds)
    return "" if n == of else f" <small>{n} of {many(of, 'seed')}</small>"


def _cell(e: Estimate, difference: Estimate, col: Column, best: float) -> str:
    if not math.isfinite(e.mean):
        return "<td>–</td>"
    shade, mark = SHADES[difference.beyond() * (-1 if col.falling else 1) * col.judged]
    mean = f"{e.mean:,.{col.decimals}f}"
    mean = f"<b>{mean}</b>" if abs(e.mean - best) <= 1e-12 else mean
    error = f" <small>±{e.error:,.{col.decimals}f}</small>" if math.isfinite(e.error) else ""
    return f'<td{shade} data-v="{e.mean:.6g}">{mark}{mean}{error}</td>'
