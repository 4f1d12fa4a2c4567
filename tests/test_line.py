"""The whole line: digits, two-phase training, a bundle, the service with two workers, the same answers as offline."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from decision import Bundle, load_bundle, read_image
from tests.service.conftest import Server, start, tiny_model  # noqa: F401 (fixtures)
from training.__main__ import main
from training.dataset import load_dataset

ROOT = Path(__file__).resolve().parent.parent


def training(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::UserWarning:training", "-m", "training", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    models = tmp_path_factory.mktemp("models")
    done = training("run", "digits", "--models", str(models), "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "balanced_accuracy" in done.stdout
    return load_bundle(models / "digits")


def test_the_bundle_says_how_it_came_about(digits: Bundle) -> None:
    manifest = digits.manifest
    train = list(manifest.counts["train"].values())
    assert min(train[:5]) >= 9 * max(train[5:]), "a step 10:1"
    assert manifest.training["method"] == "two-phase-oversample"
    settled = ("learning_rate", "momentum", "weight_decay", "flips", "size")
    assert [manifest.training[name] for name in settled] == [0.05, 0.9, 5e-4, "none", [8, 8]]
    assert {row["phase"] for row in manifest.training["curve"]} == {"rebalanced", "natural"}
    assert manifest.seed == 3
    assert manifest.metrics["balanced_accuracy"].value > 0.8
    assert manifest.libraries["torch"]
    text = (digits.path / "bundle.json").read_text()
    assert str(digits.path.parent.parent) not in text
    assert str(ROOT) not in text


def test_the_report_is_one_page_that_loads_nothing(digits: Bundle) -> None:
    page = (digits.path / "report.html").read_text()
    assert page.count("<img") == 6
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "balanced_accuracy" in page


def test_the_metrics_are_those_of_the_holdout_as_decided(digits: Bundle) -> None:
    test = digits.holdout.part("test")
    decided = digits.policy().decide(test.logits).labels
    assert digits.manifest.metrics["accuracy"].value == np.mean(decided == test.labels)
    assert len(test.labels) == sum(digits.manifest.counts["test"].values())
    assert len(digits.holdout.part("tune").labels) == sum(digits.manifest.counts["tune"].values())


def test_the_same_seed_gives_the_same_network(digits: Bundle, tmp_path: Path) -> None:
    done = training("run", "digits", "--models", str(tmp_path), "--seed", "3")
    assert done.returncode == 0, done.stderr
    again = load_bundle(tmp_path / "digits")
    assert again.manifest.files["network.onnx"] == digits.manifest.files["network.onnx"]
    assert again.manifest.calibration == digits.manifest.calibration
    assert again.manifest.metrics == digits.manifest.metrics


def test_200_images_over_http_are_answered_as_offline(digits: Bundle, start: Callable[..., Server]) -> None:  # noqa: F811 (the fixture)
    server = start(model=digits.path).wait()
    images = load_dataset("digits").images[:200]
    session = onnxruntime.InferenceSession(digits.network, providers=["CPUExecutionProvider"])
    policy = digits.policy()
    offline = policy.decide(session.run(None, {"image": images})[0])
    for row, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0]).save(buffer, "PNG")
        np.testing.assert_array_equal(read_image(buffer.getvalue(), digits.input), image)
        answer = httpx.post(f"{server.url}/predict", files={"image": buffer.getvalue()}).json()
        assert answer["label"] == policy.label(offline.labels[row])
        assert list(answer["probabilities"].values()) == pytest.approx(offline.probabilities[row], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nothing"], "error: expected one of digits, mnist"),
        (["run", "digits", "--imbalance", "step:rho=400"], "error: class '5' has"),
        (["run", "digits", "--network", "lenet5"], "error: lenet5 takes images of at least 16 pixels"),
        (["run", "digits", "--network", "huge"], "invalid choice: 'huge'"),
        (["run", "digits", "--imbalance", "ramp"], "expected an imbalance like step:mu=0.5,rho=10"),
        (["run", "digits", "--size", "8"], "expected a size like 64x48"),
        (["run", "digits", "--epochs", "0"], "expected a whole number of at least 1, got '0'"),
        (["run", "digits", "--shift", "0.9"], "expected a share from 0 to below 0.5"),
        (["run", "digits", "--name", "a b"], "expected a --name of letters"),
        (["run", "digits", "--learning-rate", "0"], "expected a number above 0, got '0'"),
        (["run", "digits", "--weight-decay", "-1"], "expected a number of at least 0, got '-1'"),
        (["run", "digits", "--accelerator", "cuda"], "error: --accelerator cuda with --devices 1"),
        (["run", "digits", "--recall", "x=0.9"], "error: --recall x=0.9: unknown class; expected one of ['0', '1'"),
        (["run", "digits", "--recall", "9=0.9"], "from 4 held-out images: expected at least 29; they certify a recall"),
        (["run", "digits", "--recall", "9"], "expected a class and its recall like crack=0.95, got '9'"),
        (["run", "digits", "--recall", "9=90%"], "expected a number between 0 and 1, got '90%'"),
        (["run", "digits", "--recall", "8=0.9", "--recall", "x=0.9"], "from 4 held-out images: expected at least 36; "),
        (["run", "digits", "--covers", "label"], "expected --confidence and --covers only with --recall"),
        (["run", "digits", "--seed", "-1"], "expected a whole number of at least 0, below 2³², got '-1'"),
        (["run", "digits", "--recall", "9=1"], "expected a number between 0 and 1, got '1'"),
        (["run", "digits", "--rule", "recall"], "expected --rule recall with at least one --recall"),
        (["run", "digits", "--rule", "priors", "--recall", "9=0.5"], "and these with no other rule"),
        (["run", "digits", "--recall", "9=0.5", "--recall", "9=0.6"], "expected one --recall for each class"),
        (["run", "digits", "--recall", "9=0.5", "--no-holdout"], "expected a holdout with --recall"),
        (["run"], "the following arguments are required: DATA"),
        ([], "the following arguments are required: command"),
    ],
)
def test_bad_usage_and_data_end_with_2_and_one_clear_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_the_exit_code_is_the_process_s() -> None:
    done = training("run", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_without_a_holdout_metrics_are_printed_and_no_bundle_is_written(tmp_path: Path) -> None:
    done = training("run", "digits", "--no-holdout", "--epochs", "2", "--method", "baseline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "balanced_accuracy" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_recall_target_becomes_the_default_policy_and_is_printed_with_its_certificate(tmp_path: Path) -> None:
    wanted = ["--recall", "0=0.9", "--recall", "8=0.3", "--confidence", "0.9"]
    done = training("run", "digits", "--epochs", "2", *wanted, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(tmp_path / "models" / "digits")
    document = bundle.manifest.policy.model_dump(mode="json")
    assert document["rule"] == {
        "kind": "recall", "targets": {"0": 0.9, "8": 0.3}, "confidence": 0.9, "priority": None, "covers": "flag",
    }  # fmt: skip
    certificates = bundle.policy().certificates
    assert [(c.class_name, c.joint) for c in certificates] == [("8", 2), ("0", 2)], "the rarest first"
    assert all(str(certificate) in done.stdout for certificate in certificates)
    assert "Certified: recall of 8 ≥ 0.3" in (bundle.path / "report.html").read_text()


def test_a_target_that_the_network_cannot_keep_costs_no_bundle(tmp_path: Path) -> None:
    """The label of 3 is lost wherever 0 is flagged, and a network of one epoch flags 0 everywhere."""
    wanted = ["--recall", "0=0.9", "--recall", "3=0.9", "--covers", "label", "--epochs", "1", "--learning-rate", "1e-9"]
    done = training("run", "digits", *wanted, cwd=tmp_path)
    assert done.returncode == 2
    assert "0, which comes first, takes" in done.stderr.splitlines()[-1]
    assert "is whole, and decides by the rule priors instead" in done.stderr.splitlines()[-1]
    assert load_bundle(tmp_path / "models" / "digits").manifest.policy.rule.kind == "priors"


def test_a_folder_of_images_becomes_a_bundle(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    for row in range(400):
        path = tmp_path / "data" / f"class-{digits.labels[row] % 3}" / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[row, ..., 0]).save(path)
    done = training("run", "data", "--epochs", "2", "--size", "16x16", "--flips", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    card = json.loads((load_bundle(tmp_path / "models" / "data").path / "bundle.json").read_text())
    assert card["classes"] == ["class-0", "class-1", "class-2"]
    assert card["input"] == {"height": 16, "width": 16, "channels": 1, "resize": "bilinear"}
    assert card["training"]["data"] == "data"
