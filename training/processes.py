"""Several processes that end as one: what fails on one of them ends them all, and the first says what it was."""

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from subprocess import Popen
from typing import NoReturn

from torch.distributed.distributed_c10d import Store

from training.errors import DataError, ExportError

POLL = 0.2  # seconds between looks
PATIENCE = 5.0  # seconds within which what fails on all processes has failed on all
LINGER = 10.0  # seconds that others wait at most for the first to go
ENDED = "ended"
KILLED = "1 error: another process of this run was killed"
ORPHANED = "1 error: the process that led this run is gone"
LOST = re.compile(r"[Cc]onnection (closed by peer|reset)|remote process exited")


def first_process() -> bool:
    """Whether this process speaks for all, as those who start several say it: torchrun, or Fabric's own launcher."""
    rank = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "LOCAL_RANK"
    return os.environ.get(rank, "0") == "0"


def ending(error: BaseException) -> tuple[str, int] | None:
    """The line that a command ends with, and its exit status; None for an error that nobody foresaw."""
    if isinstance(error, KeyboardInterrupt):
        return "; ".join(["interrupted", *map(str, error.args)]), 130
    if isinstance(error, DataError | ExportError | OSError):
        return f"error: {error}", 2
    return None


class Ensemble:
    """This process, one of `count`, which end together.

    A process that waits for another in a collective cannot be told to stop. So each looks, on a thread of its own and
    through a connection of its own to the process group's store, whether one has failed, and leaves when so. The first
    also looks whether the others, where they are its `children`, are still there.
    """

    def __init__(self, rank: int, count: int, store: Store, children: Sequence[Popen[bytes]] = ()) -> None:
        self._rank, self._count, self._store, self._children = rank, count, store.clone(), children
        self._parent, self._stages = os.getppid(), 0
        self._leaving, self._done = threading.Lock(), threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Work that all do. A DataError on all of them is raised, that of the first; one on some of them ends all."""
        self._stages += 1
        try:
            yield
        except DataError as error:
            keys = [f"stage/{self._stages}/{rank}" for rank in range(self._count)]
            self._store.set(keys[self._rank], str(error))
            deadline = time.monotonic() + PATIENCE
            while not self._store.check(keys):
                if time.monotonic() > deadline:
                    self.end(error)
                time.sleep(POLL / 10)
            raise DataError(self._store.get(keys[0]).decode()) from None

    def end(self, error: BaseException) -> NoReturn:
        """End all processes with what this error says, or with what another one said before."""
        line, status = ending(error) or (f"error: process {self._rank}: {type(error).__name__}: {error}", 1)
        own = f"{status} {line}"
        try:
            if isinstance(error, RuntimeError) and LOST.search(str(error)):
                time.sleep(2 * POLL)  # for the other one to say what happened
                own = KILLED
            elif status == 1 and not self._store.check([ENDED]):
                traceback.print_exception(error)
            last = self._store.compare_set(ENDED, "", own).decode()
        except RuntimeError:
            last = ORPHANED
        self._leave(last)

    def close(self) -> None:
        """Go on alone; the first, which may keep the store, only when all others do."""
        self._store.set(f"gone/{self._rank}", "")
        if self._rank == 0:
            with suppress(RuntimeError):
                self._store.wait([f"gone/{rank}" for rank in range(self._count)], timedelta(minutes=1))
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._done.wait(POLL):
            last = None
            try:
                if self._rank > 0 and os.getppid() != self._parent:
                    last = ORPHANED
                elif self._store.check([ENDED]):
                    last = self._store.get(ENDED).decode()
                elif any(child.poll() for child in self._children):
                    last = self._store.compare_set(ENDED, "", KILLED).decode()
            except RuntimeError:
                last = ORPHANED
            if last is not None:
                self._leave(last)

    def _leave(self, last: str) -> NoReturn:
        """The first says what happened and goes, the others after it: torchrun ends the first when it sees one fail."""
        self._leaving.acquire()  # for good: of two threads, one leaves
        status, _, line = last.partition(" ")
        if self._rank == 0 or last == ORPHANED:
            print(line, file=sys.stderr, flush=True)
        deadline = time.monotonic() + (LINGER if self._rank > 0 else 3 * POLL)
        while time.monotonic() < deadline and not (self._rank > 0 and os.getppid() != self._parent):
            time.sleep(POLL / 10)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(int(status))  # no handler at exit may wait for a process that is gone
