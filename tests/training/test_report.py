import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from decision import Calibration, Holdout, Manifest, Policy, parse_policy, softmax
from decision.bundle import CalibrationRecord
from decision.policy import compile_policy
from training.evaluate import before_after_change, evaluate
from training.phases import Epoch
from training.reliability import CALIBRATION, class_diagram
from training.report import chosen, render_report
from training.report_figures import draw_curve, drawn_names

CURVE = [Epoch("rebalanced", 1, 1.0, 1.1, 2.0), Epoch("natural", 1, 0.8, 0.9, 2.0)]


def made(classes: tuple[str, ...], temperature: float = 1.0, n: int = 600) -> tuple[Manifest, Policy, Holdout]:
    """A bundle's parts; the classes are the rarer the later, in training and where the calibration was fitted."""
    rng, k = np.random.default_rng(0), len(classes)
    labels = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    test = Holdout(rng.normal(size=(n, k)) + 2 * np.eye(k)[labels], labels, np.full(n, "test"), np.arange(n))
    priors = np.linspace(3, 1, k) / np.linspace(3, 1, k).sum()
    calibration = Calibration(temperature, np.zeros(k))
    policy = compile_policy(parse_policy({}), classes, calibration, priors)
    counts = {name: 500 - i for i, name in enumerate(classes)}
    manifest = Manifest(
        name="made", classes=classes, input={"height": 4, "width": 4, "channels": 3},
        counts=dict.fromkeys(("train", "calibrate", "tune", "test"), counts),
        training_priors=policy.by_class(priors), calibration_priors=policy.by_class(priors),
        calibration=CalibrationRecord(temperature=temperature, bias=policy.by_class(calibration.bias)),
        policy=policy.document, metrics=evaluate(policy, test, priors, seed=0, resamples=3),
        training={}, seed=0, libraries={},
    )  # fmt: skip
    return manifest, policy, test


def page_of(manifest: Manifest, policy: Policy, test: Holdout) -> str:
    return render_report(manifest, "A run.", CURVE, policy, test)


def test_the_calibration_table_has_every_metric_before_and_after_and_its_change() -> None:
    manifest, policy, test = made(("cat", "dog", "fox"), temperature=1.3)
    page = page_of(manifest, policy, test)
    assert "temperature scaling, temperature 1.300" in page
    table = page[page.index('<table class="calibration">') :]
    rows = re.findall(r"<tr><td>(\w+)</td>(.*?)</tr>", table[: table.index("</table>")])
    assert [name for name, _ in rows] == 2 * list(CALIBRATION)
    for i, (name, cells) in enumerate(rows):
        suffix = "_reweighted" if i >= len(CALIBRATION) else ""
        shown = [float(number) for number in re.findall(r"-?\d+\.\d+", cells)]
        intervals = [manifest.metrics[form + suffix] for form in before_after_change(name)]
        expected = [number for m in intervals for number in (m.value, m.low, m.high)]
        assert shown == pytest.approx(expected, abs=5.1e-5)


def test_each_metric_is_in_one_table() -> None:
    manifest, policy, test = made(("cat", "dog", "fox"))
    page = page_of(manifest, policy, test)
    for name in ("accuracy", "recall/cat", "macro_auc_reweighted"):
        assert page.count(f"<td>{name}</td>") == 1
    assert page.count("<td>nll</td>") == 2, "as it is, and re-weighted"
    assert "<td>nll_change</td>" not in page


@pytest.mark.parametrize(("k", "panels"), [(2, 2), (24, 24), (25, 24), (100, 24)])
def test_the_rarest_classes_have_a_panel_each(k: int, panels: int) -> None:
    classes = tuple(f"class {i:03}" for i in range(k))
    page = page_of(*made(classes))
    shown = re.findall(r'aria-label="Reliability of (class \d+) ', page)
    assert shown == sorted(classes, reverse=True)[:panels]
    assert (f"the 24 rarest of {k} classes" in page) == (k > 24)


def test_a_panel_draws_the_adjusted_probabilities_bins() -> None:
    manifest, policy, test = made(("cat", "dog", "fox"), temperature=1.3)
    page = page_of(manifest, policy, test)
    mix = np.bincount(test.labels) / len(test.labels)
    odds = softmax(test.logits / 1.3) * mix / np.array(list(manifest.calibration_priors.values()))
    p = odds / odds.sum(axis=1, keepdims=True)
    diagram = class_diagram(p, test.labels, test.groups, 2, n_bins=10)
    panel = page[page.index('aria-label="Reliability of fox') :]
    panel = panel[: panel.index("</svg>")]
    dots = np.array(re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', panel), dtype=float)
    np.testing.assert_allclose(dots, 100 * np.stack([diagram.predicted, 1 - diagram.observed], axis=1), atol=0.051)
    bars = np.array(re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)", panel), dtype=float)
    expected = 100 * np.stack([diagram.predicted, 1 - diagram.low, 1 - diagram.high], axis=1)
    np.testing.assert_allclose(bars, expected, atol=0.051)


def test_names_are_text_and_nothing_is_loaded() -> None:
    page = page_of(*made(("<script>alert(1)</script>", 'a"b&c')))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert 'name="viewport"' in page


@pytest.mark.parametrize("odd", ["猫", "שלום", "$5^", "_background", "x" * 60, "a\nb"])
def test_a_name_that_cannot_be_drawn_is_a_number_in_the_figures(odd: str) -> None:
    assert drawn_names(("fox", odd, "Öl²", "a_b c")) == ("fox", "#2", "Öl²", "a_b c")
    page = page_of(*made(("fox", odd, "犬")))  # which would warn, or fail
    assert f"<p>In the figures: #2 {odd}, #3 犬.</p>" in page
    assert f'aria-label="Reliability of {odd} (n' in page, "browsers have more letters than matplotlib"


def test_names_that_can_be_drawn_need_no_key() -> None:
    assert "In the figures" not in page_of(*made(("fox", "dog")))


def test_one_epoch_is_to_be_seen() -> None:
    drawn = Figure().add_subplot()
    draw_curve(drawn, CURVE[:1])
    assert [line.get_marker() not in ("", "None", None) for line in drawn.lines] == [True, True]


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        ({"a": 0.0, "b": 0.0}, "temperature scaling, temperature 1.500"),
        (
            {"a": 0.25, "b": -0.25},
            "bias-corrected temperature scaling, temperature 1.500, biases from -0.25 (b) to 0.25 (a)",
        ),
    ],
)
def test_the_chosen_calibration_is_named(bias: dict[str, float], words: str) -> None:
    assert chosen(CalibrationRecord(temperature=1.5, bias=bias)) == words
