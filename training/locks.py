"""One process at a time: a lock on a file, which goes with its process and is not held by those forked from it."""

import fcntl
from pathlib import Path
from typing import IO

from training.errors import DataError


def hold(path: Path, refusal: str) -> IO[bytes]:
    """The lock file, locked until it is closed; its folder is made. DataError with `refusal` where another has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("wb")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # as POSIX allows both
        lock.close()
        raise DataError(refusal) from None
    return lock
