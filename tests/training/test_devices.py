"""Several processes on one machine, over gloo: real ones."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from decision import load_bundle
from training.config import Machine, TrainingConfig
from training.dataset import load_dataset

ROOT = Path(__file__).parents[2]
RUN = ("--size", "16x16", "--network", "lenet5", "--epochs", "2", "--accelerator", "cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def ran(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=300)  # fmt: skip


def trained(folder: Path, *more: str, launcher: tuple[str, ...] = (), data: str = "digits") -> dict[str, np.ndarray]:
    """The loss of each step by phase, as TensorBoard shows it."""
    done = ran(folder, *launcher, "-m", "training", "run", data, *RUN, *more)
    assert done.returncode == 0, done.stderr
    (logs,) = (folder / "runs").iterdir()
    events = EventAccumulator(str(logs), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: np.array([event.value for event in events.Scalars(tag)])
        for tag in events.Tags()["scalars"] if tag.endswith("/step_loss")
    }  # fmt: skip


@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["--devices 2", "torchrun"])
def test_two_processes_take_the_steps_that_one_takes(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    alone = trained(tmp_path / "one")
    together = trained(tmp_path / "two", "--devices", "2", launcher=launcher)
    assert list(alone) == ["rebalanced/step_loss", "natural/step_loss"]
    for phase, losses in alone.items():
        assert len(losses) == 16
        np.testing.assert_allclose(together[phase], losses, rtol=1e-5)
    assert len(list((tmp_path / "two" / "models" / "digits").glob("*/bundle.json"))) == 1, "one process writes"
    bundle = load_bundle(tmp_path / "two" / "models" / "digits")
    assert bundle.classes == tuple("0123456789")
    assert bundle.manifest.training["precision"] == "32-true", "as it was resolved"


def test_images_in_files_and_in_memory_are_the_same_batches_to_two_processes(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    for row in range(300):
        path = tmp_path / "data" / str(digits.labels[row] % 3) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.images[row, ..., 0]).save(path)
    losses = []
    for name, more in {"memory": ["--devices", "1"], "files": ["--devices", "2", "--memory", "1e-6"]}.items():
        (tmp_path / name).mkdir()
        losses.append(trained(tmp_path / name, *more, "--augment", "mixup", data=str(tmp_path / "data")))
    for phase, expected in losses[0].items():
        np.testing.assert_allclose(losses[1][phase], expected, rtol=1e-5)


FAULT = """
import os, signal, sys
from training.__main__ import main
from training.descent import Descent
from training.errors import DataError

def failing(self, batch, size, step=Descent.step):
    if self._done == {step}:
        {fault}
    return step(self, batch, size)

if os.environ.get("LOCAL_RANK", "0") == {rank!r}:
    Descent.step = failing
if __name__ == "__main__":
    sys.exit(main())
"""


DATA_ERROR = "raise DataError('its disk is gone')", 2, "error: its disk is gone"
OWN_FAULT = "raise ZeroDivisionError('by zero')", 1, "error: process 1: ZeroDivisionError: by zero"
KILLED = "os.kill(os.getpid(), signal.SIGKILL)", 1, "error: another process of this run was killed"
INTERRUPTED = "raise KeyboardInterrupt", 130, "interrupted"


@pytest.mark.parametrize(
    ("launcher", "rank", "fault", "status", "last"),
    [
        ((), "1", *DATA_ERROR), ((), "0", *DATA_ERROR), (TORCHRUN, "1", *DATA_ERROR), ((), "1", *OWN_FAULT),
        ((), "1", *KILLED), ((), "1", *INTERRUPTED),
    ],
)  # fmt: skip
def test_what_ends_one_process_ends_both_with_its_line(
    tmp_path: Path, launcher: tuple[str, ...], rank: str, fault: str, status: int, last: str
) -> None:
    """In the middle of an epoch, when the other waits for its gradients."""
    (tmp_path / "faulty.py").write_text(FAULT.format(rank=rank, fault=fault, step=3))
    begun = time.monotonic()
    done = ran(tmp_path, *launcher, "faulty.py", "run", "digits", *RUN, "--devices", "2")
    assert time.monotonic() - begun < 60
    assert done.returncode == (status if not launcher else 1)
    assert done.stderr.splitlines().count(last) == 1
    assert "zombies" not in done.stderr
    assert ("Traceback" in done.stderr) == ("Zero" in fault or bool(launcher))  # torchrun shows its own


APART = """
import os, sys
from training import devices
from training.__main__ import main

rank = int(os.environ.get("LOCAL_RANK", "0"))
devices.available_memory = lambda: (3 - rank) * 2**30
launch = devices._launch

def moved(machine):
    found = launch(machine)
    os.makedirs(f"machine-{rank}", exist_ok=True)
    os.chdir(f"machine-{rank}")
    with open("memory", "w") as file:
        print(found.machine.memory, file=file)
    return found

devices._launch = moved
if __name__ == "__main__":
    sys.exit(main())
"""


def test_processes_without_a_disk_in_common_resume_and_decide_alike(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULT.format(rank="0", fault="raise DataError('stopped')", step=10))
    (tmp_path / "apart.py").write_text(APART)
    arguments = "run", "digits", *RUN, "--devices", "2", "--runs"
    assert ran(tmp_path, "faulty.py", *arguments, "machine-0/runs").returncode == 2
    done = ran(tmp_path, "apart.py", *arguments, "runs", "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("resuming after epoch 1 of phase rebalanced") == 1
    assert not (tmp_path / "machine-1" / "runs").exists()
    memory = [float((tmp_path / f"machine-{rank}" / "memory").read_text()) for rank in (0, 1)]
    assert memory == [1.0, 1.0], "half of what the machine with the least has free"


def test_a_run_at_another_precision_is_another_run() -> None:
    digests = {
        TrainingConfig("digits", "digits", machine=Machine(precision=precision)).digest("data")
        for precision in ("32-true", "bf16-mixed")
    }
    assert len(digests) == 2


def test_what_fails_on_both_processes_is_one_line(tmp_path: Path) -> None:
    done = ran(tmp_path, "-m", "training", "run", "digits", *RUN, "--devices", "2", "--learning-rate", "1e30")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        "error: rebalanced, epoch 1: the loss is no longer finite; try a lower --learning-rate"
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--accelerator tpu", "error: expected an --accelerator of auto, cpu, cuda, gpu, mps, got 'tpu'"),
        ("--nodes 2", "error: expected --nodes 2 only below torchrun, started on each machine as torchrun --nnodes 2"),
        ("--devices 2 --batch-size 1", "error: expected a --batch-size of at least the 2 processes"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, arguments: str, says: str) -> None:
    done = ran(tmp_path, "-m", "training", "run", "digits", *RUN, *arguments.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(says)
