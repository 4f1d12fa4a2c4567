"""What the workers of a host share of one model's policy: the revision in force, the policy, the store's health."""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.kept import KeptPolicy
from service.shared import SharedWord
from service.store import Revision

Publish = Callable[[Revision], None]


class HostPolicy:
    """Files in the state folder that all workers map or read; what is published here needs no database."""

    def __init__(self, state: Path, model: str) -> None:
        self._word = SharedWord(state / f"{model}.revision")
        self._health = SharedWord(state / f"{model}.store")
        self._kept = KeptPolicy(state, model)
        self._lock_path = state / f"{model}.follower"
        self._leading: int | None = None
        self.id = _host_id(state / "host.id")

    @property
    def revision(self) -> int:
        """The revision in force on this host; a worker on another reloads before it answers."""
        return self._word.value

    @contextmanager
    def changing(self) -> Iterator[Publish]:
        """Hold the host's write lock; what is yielded puts a revision in force on every worker."""
        with self._word.changing() as word:

            def publish(entry: Revision) -> None:
                self._kept.write(entry)
                word[0] = entry.revision

            yield publish

    def kept(self) -> Revision | None:
        """The policy published last."""
        return self._kept.read()

    @property
    def down_since(self) -> float | None:
        """When the database was last seen to stop answering, in seconds since the epoch; None while it answers."""
        return self._health.value / 1000 or None

    def note_database_up(self) -> None:
        """Tell all workers that the database answers."""
        if self._health.value:
            with self._health.changing() as word:
                word[0] = 0

    def note_database_down(self) -> None:
        """Tell all workers that the database does not answer, and since when, unless it is known."""
        if not self._health.value:
            with self._health.changing() as word:
                word[0] = int(time.time() * 1000)

    def leads(self) -> bool:
        """Whether this worker leads its host, taking the lock if it is free; the kernel releases it when it ends."""
        if self._leading is None:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._leading = fd
        return True


def _host_id(path: Path) -> str:
    """That of a state folder, made by whoever is first, and the same at every start."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (found := file.read()):
            found = uuid.uuid4().hex
            file.write(found)
    return found
