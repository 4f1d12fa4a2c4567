"""A comparison as Markdown and as JSON: every method under every rule, and its paired differences to baseline."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.comparison import BASELINE, RULES, Comparison
from training.estimates import COLUMNS, SEEDS_NEEDED, Column, Estimate, difference, estimate

DITTO = "″"
SAME = {"argmax": ("seconds",), "priors": ("macro_auc", "ece_equal_mass_reweighted", "nll_reweighted", "seconds")}
"""Under these rules, the metrics that are what they were in the section before."""
CAVEAT = (
    f"\\*: |mean| > 2 standard errors of the paired differences, with {SEEDS_NEEDED} seeds or more. That is no test: "
    "few seeds leave the error itself uncertain (of three, chance alone passes the bar in 18% of cases), and nothing "
    "corrects for the number of methods, metrics and rules that are looked at."
)


def as_markdown(comparison: Comparison) -> str:
    """Two tables in sections by rule, and below them what must be known to read them."""
    parts = [f"# Remedies for class imbalance on {comparison.facts['data']}", _methods_table(comparison)]
    parts += [f"Mean ± standard error over seeds. Of ECE, NLL and seconds, less is better. {DITTO}: as in the section "
              "before, because the rule has no influence on it."]  # fmt: skip
    rivals = [method for method in comparison.methods if method != BASELINE and comparison.of(method)]
    if comparison.of(BASELINE) and rivals:
        parts += ["## Differences to baseline, paired by seed", _differences_table(comparison, rivals), CAVEAT]
    return "\n\n".join([*parts, "\n".join(_notes(comparison))]) + "\n"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Everything in the tables, and every metric by seed; null for what is not a number."""
    return {
        "classes": list(comparison.classes),
        "counts": dict(comparison.counts),
        "methods": list(comparison.methods),
        "seeds": list(comparison.seeds),
        "rules": dict(RULES),
        "facts": dict(comparison.facts),
        "cells": [
            {"method": cell.method, "seed": cell.seed, "model": cell.model, "seconds": cell.seconds,
             "drawn": {name: dict(sizes) for name, sizes in cell.drawn.items()},
             "metrics": {rule: {name: _number(v) for name, v in m.items()} for rule, m in cell.metrics.items()}}
            for cell in comparison.cells
        ],
        "estimates": [
            {"method": method, "rule": rule, "metric": name, **_as_numbers(estimate(comparison, method, rule, name)),
             "difference": _difference_as_json(comparison, method, rule, name)}
            for method in comparison.methods for rule in RULES for name in _metrics(comparison)
        ],
    }  # fmt: skip


def _methods_table(comparison: Comparison) -> str:
    def cell(method: str, rule: str, column: Column) -> str:
        return _shown(estimate(comparison, method, rule, column.name), column)

    return _in_sections("method", comparison.methods, cell)


def _differences_table(comparison: Comparison, rivals: Sequence[str]) -> str:
    def cell(method: str, rule: str, column: Column) -> str:
        found = difference(comparison, method, rule, column.name)
        return _shown(found, column, sign="+") + " \\*" * bool(column.judged and found.beyond())

    return _in_sections("method − baseline", rivals, cell)


def _in_sections(head: str, methods: Sequence[str], cell: Callable[[str, str, Column], str]) -> str:
    """Markdown that lines up on a terminal too: a section for each rule, a row for each method."""
    rows = [[head, *(column.head for column in COLUMNS)]]
    for rule in RULES:
        rows.append([f"**{rule}**", *[""] * len(COLUMNS)])
        for method in methods:
            cells = [DITTO if column.name in SAME.get(rule, ()) else cell(method, rule, column) for column in COLUMNS]
            rows.append([_escaped(method), *cells])
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _notes(comparison: Comparison) -> list[str]:
    facts: Mapping[str, Any] = comparison.facts
    lines = [f"- rule {rule}: {meaning}" for rule, meaning in RULES.items()]
    lines += [f"- seeds: {', '.join(map(str, comparison.seeds))}", f"- classes: {len(comparison.classes)}"]
    lines += [f"- {name}: {_text(held)}" for name, held in facts.items()
              if name not in ("missing", "sources") and held != ""]  # fmt: skip
    lines += [f"- missing: {cell}: {why}" for cell, why in facts["missing"].items()]
    return lines + [f"- {method}: {source}" for method, source in facts["sources"].items()]


def _metrics(comparison: Comparison) -> list[str]:
    return [*dict.fromkeys(name for cell in comparison.cells for m in cell.metrics.values() for name in m), "seconds"]


def _difference_as_json(comparison: Comparison, method: str, rule: str, name: str) -> dict[str, Any] | None:
    if method == BASELINE or not comparison.of(BASELINE):
        return None
    found = difference(comparison, method, rule, name)
    return _as_numbers(found) | {"beyond_two_errors": bool(found.beyond())}


def _as_numbers(e: Estimate) -> dict[str, Any]:
    return {"mean": _number(e.mean), "error": _number(e.error), "n": e.n}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown(e: Estimate, column: Column, sign: str = "") -> str:
    if not e.n:
        return "–"
    error = f" ± {e.error:,.{column.decimals}f}" if math.isfinite(e.error) else ""
    return f"{e.mean:{sign},.{column.decimals}f}".replace("-", "−") + error


def _text(held: Any) -> str:
    return f"{held:,}" if isinstance(held, int) else str(held)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
