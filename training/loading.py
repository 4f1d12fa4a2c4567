"""The data set that a configuration asks for."""

import sys
from functools import lru_cache

from training.config import TrainingConfig
from training.dataset import Dataset, load_dataset


def load(config: TrainingConfig, *, skip_broken: bool = False) -> Dataset:
    """The data set as the configuration has it, merged and resized. One after the other, it is read once."""
    memory = config.machine.memory
    return _loaded(config.data, config.size, config.flips, config.merge,
                   None if memory is None else int(memory * 2**30), config.machine.workers,
                   config.skip_broken or skip_broken)  # fmt: skip


@lru_cache(maxsize=1)
def _loaded(data, size, flips, merge, memory, workers, skip_broken) -> Dataset:  # type: ignore[no-untyped-def]
    return load_dataset(data, size=size, flips=flips, merge=dict(merge), memory=memory, workers=workers,
                        skip_broken=skip_broken)  # fmt: skip


def name_left_out(dataset: Dataset) -> None:
    """Say on standard error which files were left out."""
    if dataset.unreadable:
        n = len(dataset.unreadable)
        print(f"left out {n} files that cannot be read:", *dataset.unreadable, sep="\n  ", file=sys.stderr)
