"""Where a measurement was made: the hardware and the commit that go with every published number."""

import os
import platform
import subprocess
from pathlib import Path

import torch

from training.config import Machine


def hardware(machine: Machine) -> str:
    """The GPUs or the CPU that a run uses, and how many cores there are."""
    if machine.accelerator != "cpu" and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
        device = device if machine.devices == 1 else f"{machine.devices} × {device}"
    else:
        device = _cpu()
    nodes = "" if machine.nodes == 1 else f", {machine.nodes} machines"
    return f"{device}, {os.cpu_count()} cores{nodes}"


def commit() -> str | None:
    """`git describe` of this code, None outside a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip() or None


def _cpu() -> str:
    """Its name where the system says it (Linux), else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} CPU"
