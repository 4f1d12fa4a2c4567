"""What the workers of a host share of one model's policy: the revision in force, the policy, the store's health."""

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.kept import KeptPolicy
from service.shared import SharedWord
from service.store import Revision

Publish = Callable[[Revision], None]


class HostPolicy:
    """Files in the state folder that all workers map or read; no database is needed to follow what is published here.

    `revision` is the law of the host: a worker whose own is another reads anew before it answers.
    """

    def __init__(self, state: Path, model: str) -> None:
        self._word = SharedWord(state / f"{model}.revision")
        self._health = SharedWord(state / f"{model}.store")
        self._kept = KeptPolicy(state, model)
        self._state, self._leader = state, state / f"{model}.follower"
        self._leading: int | None = None

    @property
    def revision(self) -> int:
        """In force on this host: a plain memory read."""
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

    def store_answers(self, answers: bool) -> None:
        """Tell all workers whether the database answers."""
        if answers != (self._health.value == 0):
            with self._health.changing() as word:
                word[0] = 0 if answers else int(time.time() * 1000)

    def lead(self) -> bool:
        """Whether this worker is the one that follows the database for its host; the kernel ends it with the worker."""
        if self._leading is None:
            fd = os.open(self._leader, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._leading = fd
        return True

    @property
    def id(self) -> str:
        """Of this state folder, the same at every start."""
        path = self._state / "host.id"
        with suppress(FileExistsError), path.open("x") as file:
            file.write(uuid.uuid4().hex)
        return path.read_text() or "nameless"
