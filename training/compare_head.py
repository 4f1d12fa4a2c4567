"""Head and foot of compare.html: what was compared on which data, and what its words mean."""

from collections.abc import Mapping
from html import escape

from training.compare_view import View
from training.compare_words import fact, many
from training.comparison import RULES, Comparison
from training.estimates import COLUMNS, SEEDS_NEEDED

LISTED = 30  # classes, above which their counts open on a tap only


def title(comparison: Comparison) -> str:
    """Of the page, as text."""
    data = comparison.facts.get("data")
    return "Remedies for class imbalance" + (f" on {data}" if data else "")


def head(view: View) -> str:
    """Title, extent, facts, and the class counts of train."""
    c = view.comparison
    n = sorted({len(cell.labels) for cell in c.cells})
    judged = " or ".join(f"{k:,}" for k in n) or "no"
    lead = (
        f"{many(len(c.methods), 'method')} × {many(len(c.seeds), 'seed')}, each decided by {len(view.rules)} rules "
        f"and judged on {judged} test images of {many(len(c.classes), 'class', 'classes')}."
    )
    facts = "".join(f"<div><dt>{escape(str(key))}</dt><dd>{escape(fact(held))}</dd></div>"
                    for key, held in c.facts.items()
                    if key not in ("missing", "sources") and held not in (None, "", "None", [], {}))  # fmt: skip
    return f'<h1>{escape(title(c))}</h1><p class="lead">{lead}</p><dl class="facts">{facts}</dl>{_class_counts(view)}'


def _class_counts(view: View) -> str:
    counts = view.counts
    least = min(counts, default=0)
    rho = f"ρ = {max(counts) / least:,.4g}" if least else "ρ is not finite"
    words = (
        f"Train has {sum(counts):,} images, {max(counts, default=0):,} of the most frequent class and {least:,} of the "
        f"rarest: <b>{rho}</b>."
    )
    items = "".join(f"<li>{escape(name)} <b>{n:,}</b></li>" for name, n in zip(view.names, counts, strict=True))
    state = " open" if len(counts) <= LISTED else ""
    return f'<details class="classes"{state}><summary>{words}</summary><ol>{items}</ol></details>'


def definitions(view: View) -> str:
    """What the columns, rules and signs mean, where the methods come from, and where they were trained."""
    c = view.comparison
    words = [(col.head, col.meaning) for col in COLUMNS]
    words += [(f"rule {rule}", meaning) for rule, meaning in RULES.items()]
    words += [
        ("±", "standard error over seeds: their standard deviation, by n − 1, divided by √n"),
        ("shaded", f"|mean of the paired differences to baseline| > 2 of their standard errors, {SEEDS_NEEDED} seeds "
                   "or more; with three seeds that is a level of 82%, not 95%, and nothing corrects for the number of "
                   "comparisons"),
        ("ρ", "images of the most frequent class divided by those of the rarest, in train (Buda et al. 2018)"),
    ]  # fmt: skip
    sources = c.facts.get("sources")
    if isinstance(sources, Mapping):
        words += [(str(m), str(source)) for m, source in sources.items()]
    terms = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(meaning)}</dd></div>" for term, meaning in words)
    ending = [f"seeds {', '.join(map(str, c.seeds))}"]
    ending += [f"{key} {fact(c.facts[key])}" for key in ("machine", "commit") if c.facts.get(key)]
    return f'<dl class="words">{terms}</dl><p class="note">{escape("; ".join(ending))}.</p>'
