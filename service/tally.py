"""Sums of one worker in a file mapped into memory: exact when it is killed, and quick to add up over workers."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SUFFIX = ".tally"


class Layout:
    """Where each named block of sums lies in one flat array; `shapes` maps names to shapes, in order."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)
        self._starts: dict[str, int] = {}
        self.size = 0
        for name, shape in self._shapes.items():
            self._starts[name] = self.size
            self.size += int(np.prod(shape))

    def block(self, flat: Array, name: str) -> Array:
        """A view of the named block."""
        start, shape = self._starts[name], self._shapes[name]
        return flat[start : start + int(np.prod(shape))].reshape(shape)

    def end(self, name: str) -> int:
        """Where the named block ends."""
        return self._starts[name] + int(np.prod(self._shapes[name]))


class Tally:
    """The sums of one worker, to be added to under its lock.

    The file stays when the worker has died: a sum never goes back. A process with the number of a dead one goes on
    where that left off.
    """

    def __init__(self, folder: Path, pid: int, layout: Layout) -> None:
        path = folder / f"{pid}{SUFFIX}"
        if not path.exists():
            unseen = path.with_suffix(".unseen")
            unseen.write_bytes(bytes(8 * layout.size))
            unseen.rename(path)  # whoever adds up sees a whole file or none
        self.flat = np.asarray(np.memmap(path, dtype=np.float64, mode="r+", shape=(layout.size,)))
        self._layout = layout
        self.lock = threading.Lock()

    def block(self, name: str) -> Array:
        """The named block; changing it, with the lock held, changes the file."""
        return self._layout.block(self.flat, name)


def added_up(folder: Path, layout: Layout) -> Array:
    """The sums `(size,)` of all workers of a folder, those that have died too.

    Values of one block or of two may be an answer apart: nothing is locked.
    """
    total = np.zeros(layout.size)
    for flat in _files(folder, layout):
        total += flat
    return total


def of_workers(folder: Path, pids: Iterable[int], layout: Layout, name: str) -> list[Array]:
    """The named block of each of these workers that has a file."""
    wanted = {f"{pid}{SUFFIX}" for pid in pids}
    return [layout.block(flat, name) for flat in _files(folder, layout, wanted)]


def _files(folder: Path, layout: Layout, wanted: set[str] | None = None) -> Iterable[Array]:
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if wanted is None or path.name in wanted:
            yield np.memmap(path, dtype=np.float64, mode="r", shape=(layout.size,))
