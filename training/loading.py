"""The data set that a configuration asks for, and what part of the machine decoding it may take."""

import sys
from collections.abc import Sequence
from functools import lru_cache

from decision.images import Resize
from training.compare_words import many
from training.config import TrainingConfig
from training.dataset import Dataset, Flips, load_dataset
from training.encoded import MOST_SHOWN
from training.memory import available_memory
from training.processes import first_process
from training.workers import default_workers


def load(config: TrainingConfig, *, skip_broken: bool = False) -> Dataset:
    """The data set as the configuration has it, merged and resized. One asked for again and again is read once.

    Half of what memory is free may hold pixels, unless `memory` says otherwise, and each core but one may decode; the
    processes on this machine share both.
    """
    machine = config.machine
    return _loaded(config.data, config.size, config.resize, config.flips, config.merge, machine.memory,
                   workers_of(config), machine.devices, config.skip_broken or skip_broken)  # fmt: skip


def workers_of(config: TrainingConfig) -> int:
    """How many processes decode for one that trains."""
    machine = config.machine
    return max(1, default_workers() // machine.devices) if machine.workers is None else machine.workers


@lru_cache(maxsize=1)
def _loaded(
    data: str, size: tuple[int, int] | None, resize: Resize, flips: Flips | None,
    merge: tuple[tuple[str, Sequence[str]], ...], memory: float | None, workers: int, processes: int, skip_broken: bool,
) -> Dataset:  # fmt: skip
    room = available_memory() // 2 if memory is None else int(memory * 2**30)
    return load_dataset(data, size=size, resize=resize, flips=flips, merge=dict(merge), memory=room // processes,
                        workers=workers, skip_broken=skip_broken)  # fmt: skip


def name_left_out(dataset: Dataset) -> None:
    """Say on standard error, once of all processes, which files were left out."""
    if not first_process():
        return
    if n := len(dataset.not_images):
        some = ", ".join(dataset.not_images.name(row) for row in range(min(n, MOST_SHOWN)))
        more = ", …" if n > MOST_SHOWN else ""
        print(f"left out {many(n, 'file')} without an image: {some}{more}", file=sys.stderr)
    if n := len(dataset.unreadable):
        print(f"left out {many(n, 'file')} that cannot be read:", *dataset.unreadable, sep="\n  ", file=sys.stderr)
