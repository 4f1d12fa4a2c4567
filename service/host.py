"""What the workers of a host share of one model's policy: the revision in force, the policy, the store's health."""

import fcntl
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.kept import Kept, KeptPolicy
from service.shared import SharedWord
from service.store import Revision

Publish = Callable[[Revision, str], None]
SILENCE_SECONDS = 10.0


class HostPolicy:
    """Files in the state folder that all workers map or read; no database is needed to follow what is published here.

    `revision` is the law of the host: a worker whose own is another reads anew before it answers.
    """

    def __init__(self, state: Path, model: str) -> None:
        self._word = SharedWord(state / f"{model}.revision")
        self._heard = SharedWord(state / f"{model}.heard")  # when the database last answered, ms since the epoch
        self._failed = SharedWord(state / f"{model}.failed")  # since when it does not take what is written; 0: it does
        self._unsettled = SharedWord(state / f"{model}.unsettled")
        self._kept = KeptPolicy(state, model)
        self._lock_path = state / f"{model}.follower"
        self._leading: int | None = None
        self.id = _host_id(state / "host.id")

    @property
    def revision(self) -> int:
        """In force on this host, a plain memory read; a worker on another reloads before it answers."""
        return self._word.value

    @contextmanager
    def changing(self) -> Iterator[Publish]:
        """Hold the host's write lock; what is yielded puts a revision of a database in force on every worker."""
        with self._word.changing() as word:

            def publish(entry: Revision, database: str) -> None:
                self._kept.write(Kept(entry, database))
                word[0] = entry.revision

            yield publish

    def kept(self) -> Kept | None:
        """The policy published last."""
        return self._kept.read()

    @property
    def down_since(self) -> float | None:
        """Since when the database has not answered, or not taken what was written, in seconds since the epoch.

        None while it does. A follower that hangs has not heard of it either.
        """
        failed, heard = self._failed.value / 1000, self._heard.value / 1000
        return failed or (heard if time.time() - heard > SILENCE_SECONDS else None) or None

    def note_database_down(self) -> None:
        """It failed: known to all workers at once."""
        if self._failed.value == 0:
            with self._failed.changing() as word:
                word[0] = int(time.time() * 1000)

    def note_database_heard(self) -> None:
        """It answered what was read."""
        with self._heard.changing() as word:
            word[0] = int(time.time() * 1000)

    def note_database_up(self) -> None:
        """It took what was written."""
        self.note_database_heard()
        if self._failed.value:
            with self._failed.changing() as word:
                word[0] = 0

    @property
    def unsettled(self) -> bool:
        """Whether the start found no database, and what it would have stored is still to be."""
        return self._unsettled.value != 0

    @unsettled.setter
    def unsettled(self, value: bool) -> None:
        with self._unsettled.changing() as word:
            word[0] = int(value)

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
    """That of a state folder on this machine, made by whoever is first, and the same at every start."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (found := file.read()):
            found = uuid.uuid4().hex
            file.write(found)
    return f"{socket.gethostname()}-{found}"
