"""Several processes on one machine, over gloo: real ones."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from decision import load_bundle

ROOT = Path(__file__).parents[2]
RUN = ("run", "digits", "--size", "16x16", "--network", "lenet5", "--epochs", "2", "--accelerator", "cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def trained(folder: Path, *more: str, launcher: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The loss of each step by phase, as TensorBoard shows it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "training", *RUN, *more]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
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
    assert load_bundle(tmp_path / "two" / "models" / "digits").classes == tuple("0123456789")
