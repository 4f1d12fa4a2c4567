import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.commands import NOT_COMPARED, contestant, parse
from training.config import Machine, TrainingConfig
from training.errors import DataError
from training.imbalance import Imbalance
from training.methods import METHODS

ROOT = Path(__file__).parents[2]


def test_digits_are_made_imbalanced_and_named_after_themselves() -> None:
    command = parse(["run", "digits"])
    assert command.name == "run"
    assert command.config == TrainingConfig("digits", "digits", imbalance=Imbalance("step", 10, 0.5))
    assert (command.models, command.runs) == (Path("models"), Path("runs"))
    assert parse(["run", "digits", "--imbalance", "none"]).config.imbalance is None


def test_every_option_of_a_run_arrives() -> None:
    config = parse([
        "run", "data/x.npz", "--method", "class-weights", "--class-weight", "dog=5", "--class-weight", "a=b=0.5",
        "--network", "lenet5", "--merge", "birds=penguin,parrot", "--merge", "cats=lion,lynx", "--size", "64x48",
        "--resize", "draft",
        "--augment", "mixup", "--augment-classes", "rare", "--flips", "both", "--shift", "0.2", "--epochs", "3",
        "--batch-size", "32", "--learning-rate", "0.1", "--weight-decay", "0", "--patience", "2", "--seed", "7",
        "--skip-broken", "--resume", "--accelerator", "cpu", "--devices", "2", "--nodes", "3", "--precision",
        "bf16-mixed", "--compile", "off", "--workers", "0", "--memory", "1.5",
    ]).config  # fmt: skip
    assert config == TrainingConfig(
        "data/x.npz", "x", method="class-weights:weighting=given", class_weight=(("dog", 5.0), ("a=b", 0.5)),
        network="lenet5", merge=(("birds", ("penguin", "parrot")), ("cats", ("lion", "lynx"))), size=(64, 48),
        resize="draft",
        augment="mixup", augment_classes="rare", flips="both", shift=0.2, epochs=3, batch_size=32, learning_rate=0.1,
        weight_decay=0.0, patience=2, seed=7, skip_broken=True, resume=True,
        machine=Machine("cpu", 2, 3, "bf16-mixed", "off", 0, 1.5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--method nope", "expected a method of baseline"),
        ("--method oversample:ratio=2", "expected ratio above 0, at most 1, got '2'"),
        ("--class-weight dog=5", "expected --class-weight with the method class-weights"),
        ("--method class-weights:weighting=given", "expected --class-weight with the method class-weights"),
        ("--method class-weights:weighting=inverse --class-weight dog=5", "expected --class-weight with the method"),
        ("--method focal:augment=mixup", "focal:augment=mixup: expected --augment mixup beside --method"),
        ("--method focal:augment_classes=rare", "expected --augment-classes rare beside --method"),
        ("--models /dev/null", "--models /dev/null: expected a folder to write to, got /dev/null: Not a directory"),
        ("--runs /dev/null/runs", "--runs /dev/null/runs: expected a folder to write to, got /dev/null: Not a"),
        ("--method class-weights --class-weight dog", "a class and its weight like dog=5, got 'dog'"),
        ("--method class-weights --class-weight dog=-1", "at least 0, got '-1'"),
        ("--merge birds", "a new class and its members like birds=penguin,parrot, got 'birds'"),
        ("--merge b=a,c --merge b=d,e", "expected one --merge for each class"),
        ("--memory 0", "expected a number above 0, got '0'"),
        ("--memory inf", "expected a number above 0, got 'inf'"),
        ("--workers -1", "expected a whole number of at least 0, got '-1'"),
        ("--epochs 1.5", "expected a whole number of at least 1, got '1.5'"),
        ("--augment wild", "invalid choice: 'wild'"),
        ("--recall a=0.9 --rule priors", "expected --rule recall with"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(["run", "digits", *arguments.split()])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_compare_takes_methods_with_dials_and_augmentations() -> None:
    command = parse(["compare", "digits", "--methods", "baseline,oversample:ratio=0.5,focal:augment=mixup:gamma=1",
                     "--seeds", "2", "--out", "there"])  # fmt: skip
    assert (command.seeds, command.out) == (2, Path("there"))
    configs = [contestant(command.config, spec) for spec in command.methods]
    assert [(config.method, config.augment) for config in configs] == [
        ("baseline", "light"), ("oversample:ratio=0.5", "light"), ("focal:gamma=1", "mixup"),
    ]  # fmt: skip


def test_all_methods_are_all_rows_but_those_that_train_the_same() -> None:
    *methods, mixed = parse(["compare", "digits", "--methods", "all,baseline:augment=mixup"]).methods
    assert mixed == "baseline:augment=mixup"
    assert set(METHODS) - set(methods) == set(NOT_COMPARED)
    assert set(NOT_COMPARED.values()) <= set(methods)


def test_class_weights_are_of_the_contestants_that_use_them(capsys: pytest.CaptureFixture[str]) -> None:
    methods = "baseline,class-weights,class-weights:weighting=inverse,class-weights:weighting=given:augment=none"
    command = parse(["compare", "digits", "--methods", methods, "--class-weight", "9=5"])
    configs = [contestant(command.config, spec) for spec in command.methods]
    assert [(config.method, config.class_weight) for config in configs] == [
        ("baseline", ()), ("class-weights:weighting=given", (("9", 5.0),)), ("class-weights:weighting=inverse", ()),
        ("class-weights:weighting=given", (("9", 5.0),)),
    ]  # fmt: skip
    with pytest.raises(SystemExit):
        parse(["compare", "digits", "--methods", "baseline,class-weights:weighting=inverse", "--class-weight", "9=5"])
    assert "expected class-weights among --methods with --class-weight" in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_is_written_to_only_to_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parse(["compare", "digits", "--out", "not/yet/there"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "compare", "inspect"])
def test_the_help_names_the_defaults_that_say_something(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert not re.findall(r"default: (?:True|False|None|\[\])", text)
    assert re.search(r"--seed SEED [^-]*\(default: 0\)", text)


def test_whoever_reads_no_further_is_no_error() -> None:
    command = [sys.executable, "-m", "training", "inspect", "digits"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


BAD = ["", ",", "baseline,baseline", "all,baseline", "baseline,nope", "baseline:augment=wild",
       "baseline:augment=none:augment=mixup"]  # fmt: skip


@pytest.mark.parametrize("methods", BAD)
def test_bad_methods_are_refused_before_anything_is_trained(methods: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(["compare", "digits", "--methods", methods])
    assert exit_.value.code == 2


def test_a_contestant_is_checked_like_a_run() -> None:
    config = parse(["run", "digits"]).config
    with pytest.raises(DataError, match="expected augment_classes of all, rare, got 'few'"):
        contestant(config, "baseline:augment_classes=few")


def test_what_is_recorded_names_no_path_and_no_machine() -> None:
    record = parse(["run", "/home/me/x.npz", "--workers", "3", "--resume"]).config.record()
    assert record["data"] == "x.npz"
    assert "machine" not in record
    assert "resume" not in record


def test_attempts_at_one_run_share_a_digest() -> None:
    attempts = [], ["--resume", "--devices", "2"], ["--seed", "1"]
    first, second, other = (parse(["run", "digits", *more]).config.digest("data") for more in attempts)
    assert first == second != other
    assert parse(["run", "digits"]).config.digest("other data") != first
