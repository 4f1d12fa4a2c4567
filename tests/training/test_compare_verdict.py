import re
from dataclasses import replace

import numpy as np
import pytest

from tests.training.comparisons import METHODS, RIVALS, Page, made, with_metric
from training.compare_verdict import NAMED, verdict
from training.compare_view import View
from training.comparison import BASELINE, RULES, Comparison


def test_a_gain_must_be_more_than_two_paired_errors() -> None:
    baseline = (0.50, 0.60, 0.70)
    values = dict.fromkeys(METHODS, baseline) | {
        "focal": (0.52, 0.621, 0.722),  # far above its spread, though far below that of baseline
        "smote": (0.60, 0.59, 0.72),
        "mixture": (0.48, 0.579, 0.681),
    }
    text = Page(verdict(View(with_metric(made(), values, "balanced_accuracy")))).text()
    assert "1 of 7 remedies beats baseline by more than 2 paired standard errors in balanced accuracy" in text
    assert "the most, +2.1 ± 0.1 points, is gained by focal under published" in text
    assert "argmax , points: focal +2.1 ± 0.1; 1 worse" in text
    assert "about 0.6 of 7 remedies" in text, "7 · P(t with 2 degrees of freedom > 2)"


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (with_metric(made(), dict.fromkeys(METHODS, (0.5, 0.6, 0.7)), "balanced_accuracy"),
         "No remedy beats baseline by more than 2 paired standard errors in balanced accuracy, under any rule."),
        (made(seeds=(4,)), "One seed cannot say which remedy works"),
        (made(seeds=(4, 5)), "2 seeds cannot say which remedy works"),
        (made(methods=RIVALS), "There is no baseline here to compare with."),
        (made(methods=(BASELINE,)), "There is only baseline here"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_numbers_cannot(comparison: Comparison, words: str) -> None:
    assert words in Page(verdict(View(comparison))).text("strong")


def test_what_is_missing_is_named_with_its_reason() -> None:
    whole = made()
    cells = tuple(c for c in whole.cells if c.method != "smote" and (c.method, c.seed) != ("focal", 1))
    text = Page(verdict(View(replace(whole, cells=cells, facts={"missing": ["focal, seed 1: out of memory"]})))).text()
    assert "Missing: focal (seed 1); smote (seeds 0, 1, 2). Reason: focal, seed 1: out of memory." in text
    facts = {"missing": {"focal, seed 1": "not trained yet", "smote, seed 0": "diverged", "smote, seed 1": "diverged"}}
    text = Page(verdict(View(replace(whole, cells=cells, facts=facts)))).text()
    assert "Reason: not trained yet: focal, seed 1. diverged: smote, seed 0; smote, seed 1." in text
    assert "Reason: none was given." in Page(verdict(View(replace(whole, cells=cells)))).text()
    assert "Missing" not in Page(verdict(View(whole))).text()


def test_the_most_that_win_are_named_and_the_others_counted() -> None:
    baseline = np.array([0.5, 0.6, 0.7])
    gains = {m: 0.02 + 0.01 * i + np.array([-0.01, 0.0, 0.01]) for i, m in enumerate(RIVALS)}
    values = {BASELINE: tuple(baseline)} | {m: tuple(baseline + gain) for m, gain in gains.items()}
    text = Page(verdict(View(with_metric(made(), values, "balanced_accuracy")))).text()
    assert "7 of 7 remedies beat baseline by more than" in text
    named = ", ".join(f"{m} +{100 * gains[m].mean():.1f} ± 0.6" for m in RIVALS[: -NAMED - 1 : -1])
    assert f"points: {named} and 2 more" in text


def test_baseline_under_its_best_rule_stands_beside_the_best_of_all() -> None:
    values = {BASELINE: (0.5, 0.6, 0.7), "focal": (0.6, 0.6, 0.9)}
    comparison = with_metric(made(methods=(BASELINE, "focal")), values, "balanced_accuracy")
    free = tuple(
        replace(c, metrics={**c.metrics, "priors": {"balanced_accuracy": c.metrics["argmax"]["balanced_accuracy"] + d}})
        for c, d in zip(comparison.cells, (0.05,) * 3 + (0.0,) * 3, strict=True)
    )
    words = Page(verdict(View(replace(comparison, cells=free)))).text()
    assert "of all is 0.700 ± 0.100, of focal under published; baseline itself reaches 0.650 ± 0.058 under pri" in words
    alone = tuple(replace(c, metrics={r: {"balanced_accuracy": 0.5} for r in RULES}) for c in comparison.cells)
    words = Page(verdict(View(replace(comparison, cells=alone)))).text()
    assert "of all is 0.500 ± 0.000, of baseline under published." in words


def test_whether_the_seeds_share_their_test_images_is_told() -> None:
    comparison = made()
    assert "The seeds share one test split" in verdict(View(comparison))
    apart = tuple(replace(c, labels=np.roll(c.labels, c.seed)) for c in comparison.cells)
    assert "Each seed has a test split of its own" in verdict(View(replace(comparison, cells=apart)))


def test_the_forest_has_every_remedy_once_under_each_rule() -> None:
    values = dict.fromkeys(METHODS, (0.5, 0.6, 0.7)) | {
        "focal": (0.52, 0.621, 0.722), "smote": (0.60, 0.59, 0.72), "mixture": (0.48, 0.579, 0.681)}  # fmt: skip
    text = verdict(View(with_metric(made(), values, "balanced_accuracy")))
    panels = re.findall(r"<figure>.*?</figure>", text)
    assert len(panels) == len(RULES)
    for panel in panels:
        marks = {key: len(re.findall(r"M", path)) for key, path in re.findall(
            r'<g class="(better|worse|even)">.*?<path class="mark" d="([^"]*)"', panel)}  # fmt: skip
        assert marks == {"better": 1, "worse": 1, "even": 5}
