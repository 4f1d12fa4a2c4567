"""Comparisons of methods, most of them of real runs on digits; each test works on a copy of what they left."""

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, recall_score, roc_auc_score

from decision import Bundle, load_bundle, softmax
from decision.bundle import NAME_PATTERN
from training.__main__ import main, run
from training.cells import Place
from training.compare import PENDING, Contestant, compare
from training.compare_table import DITTO, as_json, as_markdown
from training.comparison import RULES, Cell, Comparison
from training.config import Machine, TrainingConfig
from training.corruptions import CORRUPTIONS, corrupted
from training.dataset import load_dataset
from training.devices import launched
from training.errors import DataError
from training.estimates import COLUMNS, difference
from training.evaluate import mix_weights
from training.imbalance import Imbalance
from training.lead import Lead
from training.methods import METHODS
from training.reliability import ece_equal_mass
from training.robustness import spread
from training.splits import split

CONFIG = TrainingConfig("digits", "digits", imbalance=Imbalance("step", rho=10, mu=0.5), epochs=1,
                        machine=Machine(accelerator="cpu", workers=0))  # fmt: skip
CONTESTANTS = [Contestant(spec, replace(CONFIG, method=spec)) for spec in ("baseline", "oversample:ratio=0.5")]
CELLS = ["baseline-seed-0", "oversample-ratio-0.5-seed-0", "baseline-seed-1", "oversample-ratio-0.5-seed-1"]


class Trainer:
    """Really trains, and keeps what it was asked for."""

    def __init__(self, runs: Path) -> None:
        self.asked: list[TrainingConfig] = []
        self._runs = runs

    def __call__(self, config: TrainingConfig, models: Path) -> Path | None:
        self.asked.append(config)
        with launched(CONFIG.machine) as devices:
            return run(config, devices, models, self._runs)


def forbidden(config: TrainingConfig, models: Path) -> Path | None:
    raise AssertionError(f"{config.name} was trained again")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison, list[TrainingConfig]]:
    out = tmp_path_factory.mktemp("whole") / "comparison"
    trainer = Trainer(out / "runs")
    comparison = compare(CONFIG, CONTESTANTS, 2, out, trainer, Lead())
    assert comparison is not None
    return out, comparison, trainer.asked


@pytest.fixture
def out(whole: tuple[Path, Comparison, list[TrainingConfig]], tmp_path: Path) -> Path:
    return shutil.copytree(whole[0], tmp_path / "comparison")


@pytest.fixture
def comparison(whole: tuple[Path, Comparison, list[TrainingConfig]]) -> Comparison:
    return whole[1]


def test_the_runs_are_paired_by_seed(whole: tuple[Path, Comparison, list[TrainingConfig]]) -> None:
    _, comparison, asked = whole
    assert [(c.name, c.method, c.seed, c.resume) for c in asked] == [
        ("baseline-seed-0", "baseline", 0, None),
        ("oversample-ratio-0.5-seed-0", "oversample:ratio=0.5", 0, None),
        ("baseline-seed-1", "baseline", 1, None),
        ("oversample-ratio-0.5-seed-1", "oversample:ratio=0.5", 1, None),
    ]
    a, b = (comparison.of(c.name) for c in CONTESTANTS)
    assert [(cell.method, cell.seed) for cell in comparison.cells] == [
        ("baseline", 0), ("baseline", 1), ("oversample:ratio=0.5", 0), ("oversample:ratio=0.5", 1),
    ]  # fmt: skip
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
    assert not np.array_equal(a[0].labels, a[1].labels)


def test_the_files_are_there_and_name_no_path(out: Path, comparison: Comparison) -> None:
    for name in CELLS:
        assert load_bundle(out / "models" / name).manifest.name == name
        assert {path.suffix for path in (out / "cells").glob(f"{name}.*")} == {".json", ".npz"}
    for name in ("compare.json", "compare.md", "compare.html"):
        text = (out / name).read_text()
        assert "oversample:ratio=0.5" in text
        assert not re.search(r"/(tmp|home|root|work)/", text)
    assert not list(out.rglob(".*")), "nothing temporary is left"
    assert comparison.facts["missing"] == {}


def test_a_second_call_trains_nothing_and_says_the_same(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in out.glob("compare.*")}
    compare(CONFIG, CONTESTANTS, 2, out, forbidden, Lead())
    assert {path: path.read_bytes() for path in out.glob("compare.*")} == before
    assert capsys.readouterr().out.rstrip() == (out / "compare.md").read_text().rstrip()


@pytest.mark.parametrize("lost", ["cells/oversample-ratio-0.5-seed-1.json", "models/oversample-ratio-0.5-seed-1"])
def test_a_cell_that_is_gone_is_trained_alone(out: Path, comparison: Comparison, lost: str) -> None:
    path = out / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    trainer = Trainer(out / "runs")
    again = compare(CONFIG, CONTESTANTS, 2, out, trainer, Lead())
    assert [config.name for config in trainer.asked] == ["oversample-ratio-0.5-seed-1"]
    assert again is not None
    for one, other in zip(comparison.cells, again.cells, strict=True):
        assert one.metrics == other.metrics, "the same seed gives the same cell"


def test_lost_corrupted_logits_are_computed_again_without_training(out: Path, comparison: Comparison) -> None:
    path = out / "cells" / "baseline-seed-1.npz"
    with np.load(path) as arrays:
        before = dict(arrays)
    path.unlink()
    again = compare(CONFIG, CONTESTANTS, 2, out, forbidden, Lead())
    assert again is not None
    assert [cell.metrics for cell in again.cells] == [cell.metrics for cell in comparison.cells]
    with np.load(path) as arrays:
        for name in arrays.files:
            np.testing.assert_array_equal(arrays[name], before[name])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 2}, ["epochs=1", "epochs=2"]),
        ({"batch_size": 32, "shift": 0.2}, ["batch_size=64", "batch_size=32", "shift=0.1", "shift=0.2"]),
        ({"imbalance": None}, ["imbalance=step:mu=0.5,rho=10", "imbalance=None"]),
    ],
)
def test_another_configuration_is_refused_by_name(out: Path, changes: dict, named: list[str]) -> None:
    contestants = [replace(c, config=replace(c.config, **changes)) for c in CONTESTANTS]
    with pytest.raises(DataError) as refused:
        compare(replace(CONFIG, **changes), contestants, 2, out, forbidden, Lead())
    assert all(word in str(refused.value) for word in ["baseline-seed-0 was made with", "another --out", *named])
    assert "momentum" not in str(refused.value), "what is the same is not named"


def test_other_images_are_refused(out: Path, tmp_path: Path) -> None:
    record = out / "cells" / "baseline-seed-0.json"
    made = json.loads(record.read_text())
    fingerprint = made["made_with"]["data fingerprint"]
    assert fingerprint == load_dataset("digits").fingerprint()
    record.write_text(record.read_text().replace(fingerprint, "another"))
    with pytest.raises(DataError, match=f"data fingerprint=another, asked for is data fingerprint={fingerprint}"):
        compare(CONFIG, CONTESTANTS, 2, out, forbidden, Lead())


def test_a_bundle_that_was_changed_is_refused_by_name(out: Path) -> None:
    (page,) = (out / "models" / "baseline-seed-0").glob("*/report.html")
    page.write_text("changed")
    with pytest.raises(DataError, match="the file was changed; remove .*baseline-seed-0.json to train again"):
        compare(CONFIG, CONTESTANTS, 2, out, forbidden, Lead())


def test_what_compare_and_bundle_call_alike_is_the_same(out: Path, comparison: Comparison) -> None:
    for cell in comparison.cells:
        metrics = bundle_of(out, cell).manifest.metrics
        for name in ("ece_equal_mass", "nll", "ece_equal_mass_reweighted", "nll_reweighted"):
            assert cell.metrics["priors"][name] == pytest.approx(metrics[name].value)


def test_a_method_that_fails_is_named_and_the_others_go_on(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(config: TrainingConfig, models: Path) -> Path | None:
        assert config.method == "focal"
        raise DataError(f"expected another batch, see {models}/batches")

    contestants = [CONTESTANTS[0], Contestant("focal", replace(CONFIG, method="focal")), CONTESTANTS[1]]
    comparison = compare(CONFIG, contestants, 2, out, broken, Lead())
    assert comparison is not None
    assert capsys.readouterr().err.splitlines() == [
        "focal-seed-0: 5 of 6", f"focal-seed-0: expected another batch, see {out}/models/batches",
        "focal-seed-1: 6 of 6", f"focal-seed-1: expected another batch, see {out}/models/batches",
    ]  # fmt: skip
    why = "expected another batch, see models/batches"
    assert comparison.facts["missing"] == {"focal, seed 0": why, "focal, seed 1": why}
    assert len(comparison.cells) == 4
    for name in ("compare.json", "compare.md", "compare.html"):
        assert why in (out / name).read_text()
    assert re.search(r"^\| focal +(\| [–″] +)+\|$", (out / "compare.md").read_text(), re.MULTILINE)


def test_what_was_the_same_for_all_runs_and_what_differed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = replace(CONFIG, learning_rate=0.01, augment="mixup", augment_classes="rare")
    contestants = [CONTESTANTS[0], Contestant("baseline:augment=mixup", changed)]
    comparison = compare(CONFIG, contestants, 1, tmp_path / "out", Trainer(tmp_path / "runs"), Lead())
    assert comparison is not None
    assert capsys.readouterr().out == as_markdown(comparison) + "\n", "and nothing of its runs"
    expected = {
        "image size": "8 × 8", "learning rate": "0.05, 0.01", "weight decay": "0.0005",
        "augmentation": "light, mixup of rare classes", "patience": "10 epochs", "epochs": "at most 1 a phase",
        "precision": "32-true", "left out": "",
    }  # fmt: skip
    assert {name: comparison.facts[name] for name in expected} == expected


def test_a_cell_that_is_missing_is_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "digits", "--methods", "class-balanced-batches,baseline", "--seeds", "1", "--epochs", "1",
               "--batch-size", "8", "--accelerator", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "-seed-" in line]
    assert lines == [
        "class-balanced-batches-seed-0: 1 of 2",
        "class-balanced-batches-seed-0: expected batches with room for each of 10 classes, got batches of 8 images: "
        "raise --batch-size, or take oversample, which balances over an epoch",
        "baseline-seed-0: 2 of 2",
    ]  # fmt: skip
    assert main([*command[:3], "baseline", *command[4:]]) == 0, "the cell that is there is all that was asked for"


def test_nothing_but_failures_is_an_error(tmp_path: Path) -> None:
    def broken(config: TrainingConfig, models: Path) -> Path | None:
        raise DataError("it does not work")

    with pytest.raises(DataError, match="nothing could be trained: baseline-seed-0: it does not work; over"):
        compare(CONFIG, CONTESTANTS, 1, tmp_path, broken, Lead())


def test_an_interrupted_comparison_can_be_read_and_goes_on(out: Path) -> None:
    for name in CELLS[2:]:
        (out / "cells" / f"{name}.json").unlink()
    for path in out.glob("compare.*"):
        path.unlink()

    def stopped(config: TrainingConfig, models: Path) -> Path | None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(CONFIG, CONTESTANTS, 2, out, stopped, Lead())
    document = json.loads((out / "compare.json").read_text())
    assert [(cell["method"], cell["seed"]) for cell in document["cells"]] == [(c.name, 0) for c in CONTESTANTS]
    assert document["facts"]["missing"] == {f"{c.name}, seed 1": PENDING for c in CONTESTANTS}
    assert "±" not in (out / "compare.md").read_text().split("\n\n")[1], "one seed has no error"

    trainer = Trainer(out / "runs")
    compare(CONFIG, CONTESTANTS, 2, out, trainer, Lead())
    assert [config.name for config in trainer.asked] == CELLS[2:]


def test_seeds_begin_at_the_seed_of_the_configuration(tmp_path: Path) -> None:
    asked = []

    def broken(config: TrainingConfig, models: Path) -> Path | None:
        asked.append(config.seed)
        raise DataError("it does not work")

    with pytest.raises(DataError, match="nothing could be trained"):
        compare(replace(CONFIG, seed=7), CONTESTANTS[:1], 2, tmp_path, broken, Lead())
    assert asked == [7, 8]


def bundle_of(out: Path, cell: Cell) -> Bundle:
    return load_bundle(Place(out, cell.method, cell.seed).bundle().path)


@pytest.mark.parametrize("i", range(4))
def test_metrics_agree_with_scikit_learn(out: Path, comparison: Comparison, i: int) -> None:
    cell = comparison.cells[i]
    bundle = bundle_of(out, cell)
    test, calibration = bundle.holdout.part("test"), bundle.manifest.calibration
    bias = np.array([calibration.bias[name] for name in bundle.classes])
    p = softmax(test.logits / calibration.temperature + bias)
    priors = np.array(list(bundle.manifest.calibration_priors.values()))
    expected = {"published": (test.logits.argmax(axis=1), softmax(test.logits)), "argmax": (p.argmax(axis=1), p),
                "priors": ((p / priors).argmax(axis=1), p)}  # fmt: skip
    mix = np.array(list(bundle.manifest.counts["calibrate"].values()))
    weights = mix_weights(test.labels, mix / mix.sum())
    np.testing.assert_allclose(cell.probabilities, p, rtol=1e-9)
    for rule, (labels, probabilities) in expected.items():
        np.testing.assert_array_equal(cell.decisions[rule], labels)
        seen = cell.metrics[rule]
        recalls = recall_score(cell.labels, labels, average=None)
        rarest = np.argsort(list(bundle.manifest.counts["train"].values()), kind="stable")[:4]  # ⌈10 / 3⌉
        assert [seen[f"recall/{name}"] for name in bundle.classes] == pytest.approx(recalls)
        assert seen["recall_rarest_third"] == pytest.approx(recalls[rarest].mean())
        assert seen["accuracy"] == pytest.approx(accuracy_score(cell.labels, labels))
        assert seen["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(cell.labels, labels))
        assert seen["macro_f1"] == pytest.approx(f1_score(cell.labels, labels, average="macro", zero_division=0))
        one_vs_rest = roc_auc_score(cell.labels, probabilities, multi_class="ovr", average="macro")
        assert seen["macro_auc"] == pytest.approx(one_vs_rest)
        for end, weight in (("", np.ones(len(weights))), ("_reweighted", weights)):
            expected_nll = log_loss(cell.labels, probabilities, sample_weight=weight)
            assert seen["nll" + end] == pytest.approx(expected_nll)
            # It has tests of its own.
            assert seen["ece_equal_mass" + end] == ece_equal_mass(probabilities, cell.labels, weight)


def test_robustness_is_the_balanced_accuracy_on_corrupted_images(out: Path, comparison: Comparison) -> None:
    cell = comparison.of("baseline")[1]
    bundle = bundle_of(out, cell)
    dataset = load_dataset("digits")
    rows = split(dataset, CONFIG.imbalance, cell.seed).test  # fewer than 10,000: all of them
    session = onnxruntime.InferenceSession(bundle.network, providers=["CPUExecutionProvider"])
    for rule in RULES:
        values = []
        for name in CORRUPTIONS:
            (logits,) = session.run(["logits"], {"image": corrupted(name, dataset.images[rows], rows)})
            raw = rule == "published"
            labels = logits.argmax(axis=1) if raw else bundle.policy({"rule": {"kind": rule}}).decide(logits).labels
            values.append(balanced_accuracy_score(dataset.labels[rows], labels))
            assert cell.metrics[rule][f"robustness_{name}"] == pytest.approx(values[-1], abs=2 / 35 / 10)
        assert cell.metrics[rule]["robustness"] == pytest.approx(np.mean(values), abs=2 / 35 / 10)


def test_curves_and_draws_come_from_the_bundle(comparison: Comparison) -> None:
    for cell in comparison.cells:
        assert [row["epoch"] for row in cell.curve] == [1]
        assert cell.seconds >= sum(row["seconds"] for row in cell.curve)
        (sizes,) = cell.drawn.values()
        largest = max(comparison.counts.values())
        expected = max(comparison.counts["9"], 0.5 * largest) if "oversample" in cell.method else comparison.counts["9"]
        assert sizes["9"] == expected


# Tables: of comparisons made by hand.


def made(values: dict[str, list[float]], seeds: tuple[int, ...] | None = None) -> Comparison:
    """Every metric of a method has the given value at each seed; NaN where there is no cell."""
    seeds = seeds or tuple(range(max(map(len, values.values()))))
    names = [column.name for column in COLUMNS if column.name != "seconds"]
    cells = [
        Cell(method, seed, f"{method}:1", 100 * value, (), {}, np.zeros(1, dtype=int), np.ones((1, 2)) / 2,
             {rule: np.zeros(1, dtype=int) for rule in RULES}, {rule: dict.fromkeys(names, value) for rule in RULES})
        for method, row in values.items() for seed, value in zip(seeds, row, strict=True) if not math.isnan(value)
    ]  # fmt: skip
    facts = {"data": "made", "missing": {"x, seed 1": "because"}, "sources": {}, "commit": ""}
    return Comparison(("a", "b"), {"a": 9, "b": 1}, tuple(values), seeds, tuple(cells), facts)


def rows_of(markdown: str, head: str) -> dict[tuple[str, str], list[str]]:
    """The cells of the table with that head, by rule and method."""
    table = next(part for part in markdown.split("\n\n") if part.startswith(f"| {head} "))
    rule, found = "", {}
    for line in table.splitlines()[2:]:
        first, *cells = (text.strip() for text in re.split(r"(?<!\\)\|", line)[1:-1])
        if not any(cells):
            rule = first.strip("*")
        else:
            found[rule, first] = cells
    return found


def test_the_table_has_every_method_in_every_section(out: Path, comparison: Comparison) -> None:
    rows = rows_of((out / "compare.md").read_text(), "method")
    assert list(rows) == [(rule, method) for rule in RULES for method in comparison.methods]
    for (rule, method), cells in rows.items():
        assert len(cells) == len(COLUMNS)
        for column, shown in zip(COLUMNS, cells, strict=True):
            if shown == DITTO:
                assert column.name == "seconds" or rule == "priors"
                continue
            values = [cell.seconds if column.name == "seconds" else cell.metrics[rule][column.name]
                      for cell in comparison.of(method)]  # fmt: skip
            mean, error = map(float, shown.split(" ± "))
            half = 0.5000001 * 10**-column.decimals
            assert mean == pytest.approx(np.mean(values), abs=half)
            assert error == pytest.approx(abs(values[0] - values[1]) / 2, abs=half), "of two, it is half the difference"


def test_what_the_rule_has_no_influence_on_is_the_same_under_argmax_and_priors(comparison: Comparison) -> None:
    for cell in comparison.cells:
        for name in ("macro_auc", "ece_equal_mass_reweighted", "nll_reweighted"):
            assert cell.metrics["argmax"][name] == cell.metrics["priors"][name]


@given(
    a=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    b=st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=4, max_size=4),
)
def test_differences_are_those_of_equal_seeds(a: list[float], b: list[float]) -> None:
    found = difference(made({"baseline": a, "remedy": b}), "remedy", "argmax", "accuracy")
    pairs = [y - x for x, y in zip(a, b, strict=True) if not math.isnan(y)]
    assert found.n == len(pairs)
    if pairs:
        mean = sum(pairs) / len(pairs)
        assert found.mean == pytest.approx(mean, abs=1e-12)
        if len(pairs) > 1:
            variance = sum((pair - mean) ** 2 for pair in pairs) / (len(pairs) - 1)
            assert found.error == pytest.approx(math.sqrt(variance / len(pairs)), abs=1e-9)


@pytest.mark.parametrize(
    ("differences", "marked"),
    [
        ([0.1, 0.2, 0.3], True),  # 0.2 ± 0.058
        ([-0.1, -0.2, -0.3], True),
        ([0.0, 0.1, 0.2], False),  # 0.1 ± 0.058
        ([0.2, 0.2], False),
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_differences_beyond_two_errors_are_marked_from_three_seeds_on(differences: list[float], marked: bool) -> None:
    comparison = made({"baseline": [0.5] * len(differences), "remedy": [0.5 + d for d in differences]})
    rows = rows_of(as_markdown(comparison), "method − baseline")
    assert list(rows) == [(rule, "remedy") for rule in RULES]
    assert all(cells[0].endswith("\\*") == marked for cells in rows.values())
    assert not any(cells[-1].endswith("\\*") for cells in rows.values()), "seconds are a cost, they are not judged"
    assert all(e["difference"]["beyond_two_errors"] == marked for e in as_json(comparison)["estimates"]
               if e["method"] == "remedy" and e["metric"] == "accuracy")  # fmt: skip


def test_without_baseline_there_are_no_differences() -> None:
    markdown = as_markdown(made({"remedy": [0.1, 0.2]}))
    assert "baseline" not in markdown
    assert all(e["difference"] is None for e in as_json(made({"remedy": [0.1, 0.2]}))["estimates"])


def test_what_is_missing_is_named_and_a_method_without_cells_has_dashes() -> None:
    markdown = as_markdown(made({"baseline": [0.1, 0.2], "remedy": [math.nan, math.nan]}))
    assert "- missing: x, seed 1: because" in markdown
    assert rows_of(markdown, "method")["published", "remedy"] == ["–"] * len(COLUMNS)


def test_the_document_has_every_value_of_the_tables(out: Path, comparison: Comparison) -> None:
    document = json.loads((out / "compare.json").read_text(), parse_constant=lambda text: pytest.fail(text))
    assert document["classes"] == list("0123456789")
    assert document["counts"] == dict(comparison.counts)
    for cell, kept in zip(comparison.cells, document["cells"], strict=True):
        assert (kept["method"], kept["seed"], kept["metrics"]) == (cell.method, cell.seed, cell.metrics)
    estimates = {(e["method"], e["rule"], e["metric"]): e for e in document["estimates"]}
    asked = ["recall/9", "robustness_noise", *(column.name for column in COLUMNS)]
    assert set(estimates) >= {(m, rule, name) for m in comparison.methods for rule in RULES for name in asked}
    values = [cell.metrics["priors"]["macro_f1"] for cell in comparison.of("baseline")]
    assert estimates["baseline", "priors", "macro_f1"]["mean"] == pytest.approx(np.mean(values))


# Small parts.


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6).filter(any), st.integers(6, 100), st.integers(0, 9))
def test_a_sample_is_spread_over_the_classes(counts: list[int], most: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    places = spread(labels, most, np.random.default_rng(seed))
    assert (np.diff(places) > 0).all()
    taken = np.bincount(labels[places], minlength=len(counts))
    assert len(places) <= most
    assert ((taken == taken.max()) | (taken == counts)).all(), "whole, or as many as any other"
    if len(places) < len(labels):
        unfinished = sum(n > taken.max() for n in counts)
        assert len(places) + unfinished > most, "one more of each would be too many"


@pytest.mark.parametrize("method", [*METHODS, "focal:gamma=0.5:augment=mixup", "tau-norm:tau=1e-05"])
def test_the_name_of_a_cell_is_one_that_a_bundle_may_have(tmp_path: Path, method: str) -> None:
    assert re.match(NAME_PATTERN, Place(tmp_path, method, 12).name)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bundle": 3}'])
def test_a_broken_record_is_refused_by_name(out: Path, text: str) -> None:
    (out / "cells" / "baseline-seed-0.json").write_text(text)
    with pytest.raises(DataError, match="baseline-seed-0.json: expected the record of a cell; remove it"):
        compare(CONFIG, CONTESTANTS, 2, out, forbidden, Lead())


def test_a_second_comparison_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """The lock is one between processes."""
    script = "import sys, time; from pathlib import Path; from training.locks import hold\n" \
             "lock = hold(Path(sys.argv[1]) / 'lock', 'taken'); print('held', flush=True); time.sleep(60)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert main(["compare", "digits", "--out", str(tmp_path), "--seeds", "1", "--epochs", "1"]) == 2
        other.kill()
