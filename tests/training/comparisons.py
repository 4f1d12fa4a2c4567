"""Comparisons that are made up, and what a browser finds in the pages of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np

from decision import Decisions, softmax
from training.comparison import BASELINE, RULES, Cell, Comparison
from training.evaluate import macro_auc
from training.reliability import ece_equal_mass, nll

RIVALS = ("oversample", "focal", "ldam-drw", "tau-norm", "smote", "mixture", "decoupled")
METHODS = (BASELINE, *RIVALS)
CURVE = (
    {"phase": "rebalanced", "epoch": 1, "train_loss": 1.5, "calibrate_loss": 1.4, "seconds": 1.0},
    {"phase": "rebalanced", "epoch": 2, "train_loss": 1.0, "calibrate_loss": 1.1, "seconds": 1.0},
    {"phase": "natural", "epoch": 1, "train_loss": 0.8, "calibrate_loss": None, "seconds": 1.0},
)
HOSTILE = ("<script>alert(1)</script>", '"onload="alert(1)', "</script><b>&amp;", "'x'{0}%s")


def counts_of(classes: Iterable[str]) -> dict[str, int]:
    """Images in train, the fewer the later a class comes."""
    return {name: 1000 // (i + 1) for i, name in enumerate(classes)}


def cell_of(method: str, seed: int, classes: tuple[str, ...], skill: float, n: int = 200) -> Cell:
    k = len(classes)
    labels = np.arange(n) % k
    rng = np.random.default_rng([seed, *method.encode()])
    p = softmax(rng.normal(size=(n, k)) + skill * np.eye(k)[labels])
    decided = p.argmax(axis=1)
    recalls = {name: float((decided[labels == i] == i).mean()) for i, name in enumerate(classes)}
    ones, balanced = np.ones(n), float(np.mean(list(recalls.values())))
    metrics = {
        "accuracy": float((decided == labels).mean()), "balanced_accuracy": balanced, "macro_f1": balanced,
        "macro_auc": macro_auc(Decisions(decided, np.zeros((n, k), bool), p), labels, ones),
        "recall_rarest_third": balanced, "nll": nll(p, labels, ones), "nll_reweighted": nll(p, labels, ones),
        "ece_equal_mass_reweighted": ece_equal_mass(p, labels, ones),
        "robustness": balanced / 2, "robustness_noise": balanced / 3, "robustness_blur": balanced / 2,
        "robustness_brightness": balanced, **{f"recall/{name}": value for name, value in recalls.items()},
    }  # fmt: skip
    counts = counts_of(classes)
    drawn = {"rebalanced": dict.fromkeys(classes, float(max(counts.values()))), "natural": counts}
    return Cell(method, seed, "models/made", 60.0 + seed, CURVE, drawn, labels, p, dict.fromkeys(RULES, decided),
                dict.fromkeys(RULES, metrics))  # fmt: skip


def made(
    classes: Iterable[str] | int = 3, methods: tuple[str, ...] = METHODS, seeds: tuple[int, ...] = (0, 1, 2),
    n: int = 200, facts: Mapping[str, Any] | None = None,
) -> Comparison:  # fmt: skip
    """Methods are the better the later they come; classes the rarer."""
    names = tuple(f"class {i:03}" for i in range(classes)) if isinstance(classes, int) else tuple(classes)
    cells = tuple(cell_of(m, s, names, 1.0 + 0.1 * i, n) for i, m in enumerate(methods) for s in seeds)
    return Comparison(
        names, counts_of(names), methods, seeds, cells, facts or {"data": "made-up", "network": "small", "n": n}
    )


def with_metric(comparison: Comparison, values: Mapping[str, tuple[float, ...]], name: str) -> Comparison:
    """The same with a metric's value of each method and seed, under all rules."""
    cells = []
    for cell in comparison.cells:
        value = values[cell.method][comparison.seeds.index(cell.seed)]
        cells.append(replace(cell, metrics={rule: {**cell.metrics[rule], name: value} for rule in RULES}))
    return replace(comparison, cells=tuple(cells))


class Page(HTMLParser):
    """What a browser finds in a page: elements that are closed in order, and the text of each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "wbr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str = "") -> str:
        return " ".join(" ".join(words for at, words in self.texts if tag in ("", at)).split())


def legend_of(page: str, curve: str) -> dict[str, str]:
    """The areas that the legend of a curve gives, by method."""
    part = re.search(rf'<ul class="legend" data-area="{curve}">(.*?)</ul>', page)[1]
    return dict(re.findall(r"<span>([^<]*)</span> <b>([^<]*)</b>", part))


def box_of(svg: str) -> tuple[float, ...]:
    """Left, top, width and height of where a chart's data are drawn."""
    return tuple(map(float, re.search(r'data-box="([^"]*)"', svg)[1].split()))
