"""Work that is done ahead in worker processes, its results in order."""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from training.errors import DataError

MOST_WORKERS = 16
PREFETCH = 2
"""Results that each worker may be ahead."""

T = TypeVar("T")
R = TypeVar("R")


def default_workers() -> int:
    """One for each core that this process may use but its own; at least 1, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores - 1, 1), MOST_WORKERS)


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map`, its calls spread over worker processes; with 0 workers they happen here.

    Items may be made lazily: no more than 2 × `workers` are taken ahead. Tensors in the results come through shared
    memory, everything else through a pipe. The random state of torch is left alone.
    """
    if workers == 0:
        yield from map(function, items)
    else:
        yield from _started(function, items, workers)


def _started(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    with warnings.catch_warnings():
        # Whoever asks for more workers than cores may have them. What Python 3.12 fears of a fork with threads does
        # not happen: a worker reads files and decodes, and takes no lock that a thread could have held.
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        loader: DataLoader[R] = DataLoader(
            _Applied(function), batch_size=None, sampler=items, num_workers=workers, prefetch_factor=PREFETCH,
            collate_fn=_as_it_is, worker_init_fn=_settle, generator=torch.Generator(),
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )  # fmt: skip
        results = iter(loader)
    try:
        yield from results
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        fewer = f"--workers {workers - 1} needs less memory"
        raise DataError(f"a process that decodes images was killed; {fewer}") from None


class _Applied(Dataset[R], Generic[T, R]):
    """A function as a DataLoader takes it: item for index."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function

    def __getitem__(self, item: T) -> R:
        return self._function(item)


def _as_it_is(result: R) -> R:
    return result


def _settle(number: int) -> None:
    """One thread a worker; what it has of its parent is out of the collector's sight, whose marks would copy it.

    On Ctrl-C, it is its parent that says so, and ends it.
    """
    del number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    gc.freeze()
