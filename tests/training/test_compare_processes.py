"""A comparison by two processes on one machine: real ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path

from training.__main__ import run
from training.compare import Contestant, compare
from training.config import Machine, TrainingConfig
from training.devices import launched
from training.errors import ExportError
from training.imbalance import Imbalance
from training.lead import Lead

out = Path("out")
config = TrainingConfig("digits", "digits", imbalance=Imbalance("step", 10, 0.5), epochs=1,
                        machine=Machine(accelerator="cpu", devices=2, workers=0))
contestants = [Contestant(name, replace(config, method=name)) for name in ("oversample", "baseline")]

with launched(config.machine) as devices:

    def train(config, models):
        if config.method == "oversample":
            if devices.first:
                raise ExportError("only the first process knows")
            return None
        return run(config, devices, models, out / "runs")

    def forbidden(config, models):
        raise AssertionError("trained again")

    def compared(contestants, train):
        comparison = compare(config, contestants, 1, out, train, Lead(devices.first, devices.fabric.broadcast))
        done = sorted(cell.method for cell in comparison.cells) if comparison else comparison
        (out / f"{devices.fabric.global_rank}-{len(contestants)}").write_text(str(done))

    compared(contestants, train)
    if devices.first:
        (out / "cells" / "baseline-seed-0.npz").unlink()
    compared(contestants[1:], forbidden)
"""


def test_what_fails_on_the_first_process_fails_for_both_and_the_first_alone_writes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "-seed-" in line]
    assert told == [
        "oversample-seed-0: 1 of 2", "oversample-seed-0: only the first process knows", "baseline-seed-0: 2 of 2",
        "baseline-seed-0: 1 of 1",
    ]  # fmt: skip
    outcomes = {path.name: path.read_text() for path in (tmp_path / "out").glob("[01]-*")}
    assert outcomes == {"0-2": "['baseline']", "1-2": "None", "0-1": "['baseline']", "1-1": "None"}
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["facts"]["missing"] == {}
    assert done.stdout.count("# Remedies for class imbalance") == 2, "one report a comparison"
