"""The devices and processes of a run, through Fabric; how randomness is fixed on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.utilities.exceptions import MisconfigurationException

from training.config import Machine
from training.errors import DataError


@dataclass(frozen=True)
class Devices:
    """One process of a run: its device and its place among the others; whether it compiles."""

    fabric: Fabric
    compile: bool

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.fabric.global_rank == 0


@contextmanager
def launched(machine: Machine) -> Iterator[Devices]:
    """The processes that there shall be, until the end. DataError where the machine has not got what was asked for."""
    devices = _launch(machine)
    try:
        yield devices
    finally:
        if torch.distributed.is_initialized():  # a process that ends with gloo's threads alive is aborted
            torch.distributed.destroy_process_group()


def _launch(machine: Machine) -> Devices:
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) != machine.devices * machine.nodes:
        raise DataError(f"expected --devices and --nodes that make the {os.environ['WORLD_SIZE']} processes torchrun "
                        f"started, got {machine.devices} × {machine.nodes}")  # fmt: skip
    precision = machine.precision
    if precision == "auto":
        fast = (
            machine.accelerator != "cpu"
            and torch.cuda.is_available()
            and torch.cuda.is_bf16_supported(including_emulation=False)
        )
        precision = "bf16-mixed" if fast else "32-true"
    try:
        fabric = Fabric(accelerator=machine.accelerator, devices=machine.devices, num_nodes=machine.nodes,
                        precision=precision)  # fmt: skip
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise DataError(f"--accelerator {machine.accelerator} with --devices {machine.devices}: {error}") from None
    compiled = machine.compile == "on" or (machine.compile == "auto" and fabric.device.type == "cuda")
    return Devices(fabric, compiled)


def seed_all(seed: int) -> None:
    """Every source of randomness from one seed; deterministic kernels where there are some."""
    seed_everything(seed, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
