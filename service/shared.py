"""A number that all workers of a host see at once: how a change is in force everywhere at the next request."""

import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SharedWord:
    """One 8-byte word in a file that the processes of a host map, and the lock to change it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._fd, 8)
        self._word = memoryview(mmap.mmap(self._fd, 8)).cast("Q")
        self._threads = threading.Lock()

    @property
    def value(self) -> int:
        """A plain memory read: every request does it."""
        return self._word[0]

    @contextmanager
    def changing(self) -> Iterator[memoryview]:
        """Hold the host's write lock; set element 0 of what is yielded to publish a number."""
        with self._threads:  # flock does not keep threads of one process apart
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield self._word
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
