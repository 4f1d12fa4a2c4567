"""The verdict of compare.html: which remedies beat baseline by more than their errors, and what is missing."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from scipy.stats import t as student

from training import charts
from training.axes import covering
from training.charts import Dots
from training.compare_view import View
from training.compare_words import fact, many
from training.comparison import BASELINE, RULES, Comparison
from training.estimates import SEEDS_NEEDED, Estimate

NAMED = 5  # winners by name under each rule
NOTHING = Estimate(math.nan, math.nan, 0)

Gains = Mapping[str, Estimate]
"""Balanced accuracy of each remedy minus that of baseline, under one rule."""


def verdict(view: View) -> str:
    """What the differences to baseline say, what is missing, and the differences themselves."""
    missing = _missing(view.comparison)
    if BASELINE not in view.methods:
        return f"<p><strong>There is no baseline here to compare with.</strong></p>{missing}"
    if not view.rivals:
        return f"<p><strong>There is only baseline here, so nothing is compared.</strong></p>{missing}"
    gains = {r: {m: view.difference(m, r, "balanced_accuracy") for m in view.rivals} for r in view.rules}
    n = max(gain.n for by_method in gains.values() for gain in by_method.values())
    words = _too_few(view, n) if n < SEEDS_NEEDED else _judged(view, gains, n)
    return words + missing + _forest(view.rivals, gains)


def _too_few(view: View, n: int) -> str:
    seeds = {0: "No seed has both baseline and a remedy", 1: "One seed cannot say which remedy works"}
    what = seeds.get(n, f"{n} seeds cannot say which remedy works")
    return (
        f"<p><strong>{what}: at least {SEEDS_NEEDED} are needed for an error of the differences.</strong> "
        f"{_free(view)}</p>"
    )


def _judged(view: View, gains: Mapping[str, Gains], n: int) -> str:
    """Who wins under which rule, and how many would by chance alone."""
    remedies = many(len(view.rivals), "remedy", "remedies")
    lines = "".join(f"<li><b>{rule}</b>, points: {_gained(gains[rule])}</li>" for rule in gains)
    chance = sum(float(student.sf(2, gain.n - 1)) for gain in gains[view.rules[0]].values() if gain.n >= SEEDS_NEEDED)
    return (
        f"<p><strong>{_winners(gains, remedies)}</strong> {_free(view)}</p><ul>{lines}</ul>"
        f'<p class="note">With {many(n, "seed")}, chance alone would let about {chance:.1f} of '
        f"{remedies} pass this bar under a rule, if none did anything "
        f"(few seeds leave the errors themselves uncertain). {_one_test(view.comparison)}</p>"
    )


def _winners(gains: Mapping[str, Gains], remedies: str) -> str:
    by = "more than 2 paired standard errors in balanced accuracy"
    beating = {(r, m): gain for r, of_rule in gains.items() for m, gain in of_rule.items() if gain.beyond() > 0}
    if not beating:
        return f"No remedy beats baseline by {by}, under any rule."
    rule, most = max(beating, key=lambda pair: beating[pair].mean)
    n = len({m for _, m in beating})
    return (
        f"{n} of {remedies} beat{'s' * (n == 1)} baseline by {by} under at least one rule; the most, "
        f"{_points(beating[rule, most])} points, is gained by {escape(most)} under {rule}."
    )


def _one_test(c: Comparison) -> str:
    if all(np.array_equal(cell.labels, c.cells[0].labels) for cell in c.cells):
        return "The seeds share one test split: their spread does not say how other images would fare."
    return "Each seed has a test split of its own, so that their spread holds that of the images as well."


def _free(view: View) -> str:
    """Baseline under its best rule, which costs no training at all, beside the best of everything."""
    cells = {(m, r): view.estimate(m, r, "balanced_accuracy") for m in view.methods for r in view.rules}
    known = [key for key in cells if math.isfinite(cells[key].mean)]
    if not known:
        return ""
    m, rule = max(known, key=lambda key: cells[key].mean)
    best = f"The highest balanced accuracy of all is {cells[m, rule].text()}, of {escape(m)} under {rule}"
    own = [key for key in known if key[0] == BASELINE]
    if m == BASELINE or not own:
        return f"{best}."
    _, free = max(own, key=lambda key: cells[key].mean)
    return f"{best}; baseline itself reaches {cells[BASELINE, free].text()} under {free}."


def _gained(gains: Gains) -> str:
    better = sorted((m for m in gains if gains[m].beyond() > 0), key=lambda m: -gains[m].mean)
    worse = sum(gain.beyond() < 0 for gain in gains.values())
    words = ", ".join(f"{escape(m)} {_points(gains[m])}" for m in better[:NAMED]) or "none better"
    words += f" and {len(better) - NAMED} more" if len(better) > NAMED else ""
    return words + (f"; {worse} worse" if worse else "")


def _points(e: Estimate) -> str:
    return f"{100 * e.mean:+.1f}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{100 * e.error:.1f}".replace("-", "−")


def _missing(c: Comparison) -> str:
    there = {(cell.method, cell.seed) for cell in c.cells}
    lacking = {m: [s for s in c.seeds if (m, s) not in there] for m in c.methods}
    names = [f"{m} (seed{'s' * (len(s) > 1)} {', '.join(map(str, s))})" for m, s in lacking.items() if s]
    told = c.facts.get("missing") or {}
    if not names and not told:
        return ""
    reasons = fact(told) or "none was given"
    if isinstance(told, Mapping):
        alike = {why: [cell for cell in told if told[cell] == why] for why in told.values()}
        reasons = ". ".join(f"{why}: {'; '.join(map(str, cells))}" for why, cells in alike.items()) or reasons
    lacked = escape("; ".join(names) or "nothing of the plan")
    return f'<p class="missing">Missing: {lacked}.<br>Reason: {escape(reasons)}.</p>'


def _forest(rivals: Sequence[str], gains: Mapping[str, Gains]) -> str:
    """What each remedy gains over baseline, a panel for each rule."""
    rows = sorted(rivals, key=lambda m: -max((g[m].mean for g in gains.values() if g[m].n), default=-math.inf))
    ends = [100 * (e.mean + s * 2 * (e.error if e.n >= SEEDS_NEEDED else 0)) for g in gains.values()
            for e in g.values() for s in (-1, 1) if e.n]  # fmt: skip
    x = covering("points of balanced accuracy above baseline", [0.0, *ends])
    gutter = min(charts.GUTTER, 12 + charts.LETTER * max(map(len, rows)))
    panels = "".join(
        f"<figure><figcaption><b>{r}</b>: {RULES[r]}</figcaption>"
        + charts.dot_chart(f"Balanced accuracy minus baseline's, rule {r}", rows, _forest_dots(rows, gains[r]), x,
                           row_height=17, gutter=gutter, zero=0.0) + "</figure>"
        for r in gains
    )  # fmt: skip
    return (
        f'<div class="grid">{panels}</div><p class="note">Mean paired difference of balanced accuracy to baseline '
        "under the same rule, in percentage points; bars: ± 2 standard errors over seeds, on "
        f"{SEEDS_NEEDED} seeds or more. {_mark('better', 3)} better, {_mark('worse', 4)} worse by more than that.</p>"
    )


def _forest_dots(rows: Sequence[str], gains: Gains) -> list[Dots]:
    dots = []
    for sign, key, shape in ((1, "better", 3), (-1, "worse", 4), (0, "even", 0)):
        chosen = [gains[m] if gains[m].beyond() == sign else NOTHING for m in rows]
        mean = 100 * np.array([e.mean for e in chosen])
        reach = 200 * np.array([e.error if e.n >= SEEDS_NEEDED else math.nan for e in chosen])
        dots.append(Dots(key, mean, mean - reach, mean + reach, shape))
    return dots


def _mark(key: str, shape: int) -> str:
    return (f'<svg class="key" viewBox="0 0 12 12" aria-hidden="true"><g class="dots {key}">'
            f'<path class="mark" d="M6 6{charts.SHAPES[shape]}"/></g></svg>')  # fmt: skip
