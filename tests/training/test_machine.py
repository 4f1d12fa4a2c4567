import os
import shutil
import subprocess
from pathlib import Path

import pytest

from training.config import Machine
from training.machine import commit, hardware

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs git and a repository")
def test_the_commit_is_that_of_the_code_wherever_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    monkeypatch.chdir(tmp_path)
    described = commit()
    assert described is not None
    asked = described.removesuffix("-dirty")
    command = ["git", "rev-parse", f"{asked}^{{commit}}"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == head


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() is None


def test_the_hardware_is_that_of_the_run() -> None:
    assert hardware(Machine(accelerator="cpu")).endswith(f", {os.cpu_count()} cores")
    assert hardware(Machine(accelerator="cpu", nodes=2)) == hardware(Machine(accelerator="cpu")) + ", 2 machines"
