"""Runs that are killed, and go on: real processes of `python -m training`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from decision import load_bundle
from training.runlog import CHECKPOINT, KEPT

RUN = ("--size", "24x24", "--epochs", "3", "--name", "demo", "--accelerator", "cpu")


def started(folder: Path, *more: str, data: str = "digits") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training", "run", data, *RUN, "--models", "models", "--runs", "runs", *more]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


def finished(folder: Path, *more: str) -> str:
    """The bytes of the network that a run ends with, as the digest its bundle keeps."""
    process = started(folder, *more)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return load_bundle(folder / "models" / "demo").manifest.files["network.onnx"]


def until(process: subprocess.Popen[str], folder: Path, when: Callable[[dict], bool]) -> None:
    """Wait for the middle of the epoch after the first checkpoint that `when` is true of."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        paths = list((folder / "runs").glob(f"*/{CHECKPOINT}"))
        if paths and when(torch.load(paths[0], weights_only=True)):
            break
        time.sleep(0.02)
    time.sleep(0.1)


def killed(folder: Path, when: Callable[[dict], bool]) -> None:
    """Start a run and kill it in the middle of the epoch after the first checkpoint that `when` is true of."""
    process = started(folder)
    until(process, folder, when)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    return finished(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("phase", "epoch"), [(0, 1), (0, 2), (1, 0), (1, 1)], ids=["1st, 2nd epoch", "1st, 3rd", "2nd, 1st", "2nd, 2nd"]
)
def test_a_killed_run_goes_on_to_the_very_same_weights(
    tmp_path: Path, uninterrupted: str, phase: int, epoch: int
) -> None:
    killed(tmp_path, lambda state: (state["phase"], state["epoch"]) == (phase, epoch))
    (checkpoint,) = (tmp_path / "runs").glob(f"*/{CHECKPOINT}")
    begun = torch.load(checkpoint, weights_only=True)
    assert (begun["phase"], begun["epoch"]) == (phase, epoch)

    process = started(tmp_path, "--resume")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert load_bundle(tmp_path / "models" / "demo").manifest.files["network.onnx"] == uninterrupted
    last = begun["curve"][-1]
    assert errors.splitlines()[0] == f"resuming after epoch {last['epoch']} of phase {last['phase']}"

    assert not checkpoint.exists(), "a finished run needs it no more"
    curve = load_bundle(tmp_path / "models" / "demo").manifest.training["curve"]
    assert [(row["phase"], row["epoch"]) for row in curve] == [
        (name, epoch) for name in ("rebalanced", "natural") for epoch in (1, 2, 3)
    ]


def test_a_run_that_was_not_stopped_resumes_from_the_beginning(tmp_path: Path, uninterrupted: str) -> None:
    assert finished(tmp_path, "--resume") == uninterrupted


def test_another_configuration_does_not_resume_this_one(tmp_path: Path) -> None:
    killed(tmp_path, lambda state: state["epoch"] == 1)
    finished(tmp_path, "--resume", "--weight-decay", "0.1")
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert list((tmp_path / "runs").glob(f"*/{CHECKPOINT}")), "the first one can still go on"


def test_a_broken_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    killed(tmp_path, lambda state: state["epoch"] == 1)
    (checkpoint,) = (tmp_path / "runs").glob(f"*/{CHECKPOINT}")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    process = started(tmp_path, "--resume")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "expected a checkpoint of this version" in errors


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C reaches the processes that decode as well."""
    for row, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (400, 24, 24), dtype=np.uint8)):
        path = tmp_path / "data" / str(row % 2) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    process = started(tmp_path, "--memory", "1e-6", "--workers", "2", "--epochs", "50", data="data")
    until(process, tmp_path, lambda state: state["epoch"] >= 1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (checkpoint,) = (tmp_path / "runs").glob(f"*/{CHECKPOINT}")
    epoch = torch.load(checkpoint, weights_only=True)["epoch"]
    *lines, last = errors.splitlines()
    assert last == f"interrupted; --resume goes on after epoch {epoch} of phase rebalanced"
    assert all(line.startswith(f"rebalanced: epoch {i}/50 train ") for i, line in enumerate(lines, 1))


def test_starting_anew_keeps_what_was_stopped_until_the_end(tmp_path: Path, uninterrupted: str) -> None:
    killed(tmp_path, lambda state: state["epoch"] == 2)
    (checkpoint,) = (tmp_path / "runs").glob(f"*/{CHECKPOINT}")
    stopped = checkpoint.read_bytes()
    for _ in range(2):  # the second attempt that forgets --resume loses nothing either
        process = started(tmp_path)
        assert process.stderr is not None
        assert process.stderr.readline().startswith("training anew, without --resume; ")
        assert process.stderr.readline().startswith("rebalanced: epoch 1/3 ")
        process.kill()
        process.communicate()
        assert checkpoint.with_name(KEPT).read_bytes() == stopped
    assert finished(tmp_path) == uninterrupted
    assert not checkpoint.with_name(KEPT).exists()


def test_the_same_run_is_not_trained_twice_at_once(tmp_path: Path) -> None:
    first = started(tmp_path)
    until(first, tmp_path, lambda state: state["epoch"] == 1)
    second = started(tmp_path)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2
    assert errors.count("\n") == 1
    assert "another process is training this very run" in errors
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 0, errors
