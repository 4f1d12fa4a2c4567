"""The devices and processes of a run, through Fabric; how randomness is fixed on them."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, cast

import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.distributed.distributed_c10d import _get_default_store

from training.config import Machine, SettledPrecision
from training.errors import DataError
from training.memory import available_memory
from training.processes import Ensemble

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
LONGEST_WAIT = timedelta(days=1)  # of the others, while the first exports, judges and writes


@dataclass(frozen=True)
class Devices:
    """One process of a run: its device and its place among the others; whether it compiles.

    `machine` is what was asked for, with what was left to the machine decided, alike on all processes.
    """

    fabric: Fabric
    compile: bool
    machine: Machine
    ensemble: Ensemble | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.fabric.global_rank == 0

    def stage(self) -> AbstractContextManager[None]:
        """Around what all processes do: a DataError is raised on all of them, or ends them all."""
        return nullcontext() if self.ensemble is None else self.ensemble.stage()


@contextmanager
def launched(machine: Machine) -> Iterator[Devices]:
    """The processes that there shall be, until the end. DataError where the machine has not got what was asked for.

    Whatever ends one of several before its time ends them all: no exception leaves here then.
    """
    devices = _launch(machine)
    try:
        yield devices
    except BaseException as error:
        if devices.ensemble is not None:
            devices.ensemble.end(error)
        raise
    if devices.ensemble is not None:
        devices.ensemble.close()
        torch.distributed.destroy_process_group()  # a process that ends with gloo's threads alive is aborted


def _launch(machine: Machine) -> Devices:
    _require_possible(machine)
    count = machine.devices * machine.nodes
    precision = _precision(machine)
    try:
        fabric = Fabric(accelerator=machine.accelerator, devices=machine.devices, num_nodes=machine.nodes,
                        strategy=DDPStrategy(timeout=LONGEST_WAIT) if count > 1 else "auto",
                        precision=precision)  # fmt: skip
        fabric.launch()
    except (RuntimeError, ValueError, ImportError, MisconfigurationException) as error:
        raise DataError(f"--accelerator {machine.accelerator} with --devices {machine.devices}: {error}") from None
    compiled = machine.compile == "on" or (machine.compile == "auto" and fabric.device.type == "cuda")
    ensemble = None
    if count > 1:
        children = getattr(fabric.strategy.launcher, "procs", [])
        ensemble = Ensemble(fabric.global_rank, count, _get_default_store(), [*children])
        children.clear()  # Fabric's own observer of them would kill this process before it has said why
    room = available_memory() / 2 / 2**30 if machine.memory is None else machine.memory
    least = -reduced(fabric, torch.tensor(-room, device=fabric.device), "max").item()
    return Devices(fabric, compiled, replace(machine, precision=precision, memory=least), ensemble)


def _require_possible(machine: Machine) -> None:
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if machine.accelerator not in ACCELERATORS:
        raise DataError(f"expected an --accelerator of {', '.join(ACCELERATORS)}, got {machine.accelerator!r}")
    if by_torchrun and int(os.environ["WORLD_SIZE"]) != machine.devices * machine.nodes:
        raise DataError(f"expected --devices and --nodes that make the {os.environ['WORLD_SIZE']} processes torchrun "
                        f"started, got {machine.devices} × {machine.nodes}")  # fmt: skip
    if machine.nodes > 1 and not by_torchrun:
        raise DataError(f"expected --nodes {machine.nodes} only below torchrun, started on each machine as torchrun "
                        f"--nnodes {machine.nodes} --nproc-per-node {machine.devices} --rdzv-backend c10d "
                        "--rdzv-endpoint FIRST-MACHINE:29500 -m training …")  # fmt: skip


def _precision(machine: Machine) -> SettledPrecision:
    if machine.precision != "auto":
        return machine.precision
    fast = (
        machine.accelerator != "cpu"
        and torch.cuda.is_available()
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16-mixed" if fast else "32-true"


def reduced(fabric: Fabric, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
    """The sum, or the largest, of each value over all processes."""
    return cast(Tensor, fabric.all_reduce(values, reduce_op=how))  # of a tensor it makes a tensor


def seed_all(seed: int) -> None:
    """Every source of randomness from one seed; deterministic kernels where there are some."""
    seed_everything(seed, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
