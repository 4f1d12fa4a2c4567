"""The log of answers: noted in the request path, stored and thinned out by a thread beside it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decision import softmax
from service.answers import Answers, AnswerStore
from service.database import StoreError

log = logging.getLogger("equipoise")

BATCH = 1_000
MOST_WAITING = 20_000
WRITE_SECONDS = 1.0
RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
PRUNE_SECONDS = 600.0

Noted: TypeAlias = tuple[str, int, int, NDArray[np.float64], NDArray[np.bool_]]


class AnswerLog:
    """Notes answers in the request path; a thread stores them, once a second or a thousand at once.

    While the store is down at most MOST_WAITING wait: the oldest are dropped, and `dropped`, called from any thread, is
    told how many. Prunes where `leads()` is true.
    """

    def __init__(self, store: AnswerStore, *, leads: Callable[[], bool], dropped: Callable[[int], object]) -> None:
        self._store, self._dropped = store, dropped
        self._pruner = _Pruner(store, leads)
        self._noted: deque[Noted] = deque()
        self._down = False
        self._full, self._closed = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="answers", daemon=True)
        self._writer.start()

    def note(
        self, answer_id: str, revision: int, label: int, logits: NDArray[np.float64], flags: NDArray[np.bool_]
    ) -> None:
        """Keep one answer: its calibrated logits and flags `(K,)`, which are nobody's to change any more."""
        noted = self._noted
        noted.append((answer_id, revision, label, logits, flags))
        if len(noted) >= BATCH:
            self._full.set()
            if len(noted) > MOST_WAITING:
                self._drop_oldest()

    def close(self) -> None:
        """Store what was noted, if the database takes it."""
        self._closed.set()
        self._full.set()
        self._writer.join(PATIENCE_SECONDS)
        if left := len(self._noted):
            log.error("%d answers could not be stored", left)
            self._dropped(left)

    def _write_on(self) -> None:
        while not self._closed.is_set():
            self._full.wait(WRITE_SECONDS)
            self._full.clear()
            if self._write():
                self._pruner.step()
            else:
                self._closed.wait(RETRY_SECONDS)
        self._write()

    def _write(self) -> bool:
        """Store what waits; False where the database does not take it now."""
        while rows := self._taken():
            try:
                self._store.append(_answers(rows))
            except StoreError as error:
                self._noted.extendleft(reversed(rows))
                self._drop_oldest()
                if not self._down:
                    log.error("answers wait to be stored: %s", error)
                self._down = True
                return False
            except Exception:  # these will never be stored; the next ones may
                log.exception("%d answers were not stored", len(rows))
                self._dropped(len(rows))
            self._down = False
        return True

    def _taken(self) -> list[Noted]:
        rows: list[Noted] = []
        with suppress(IndexError):  # other threads add, and drop the oldest
            while len(rows) < BATCH:
                rows.append(self._noted.popleft())
        return rows

    def _drop_oldest(self) -> None:
        gone = 0
        with suppress(IndexError):
            while len(self._noted) > MOST_WAITING:
                self._noted.popleft()
                gone += 1
        if gone:
            self._dropped(gone)


class _Pruner:
    """Prunes every ten minutes, a bounded step at a time, where this worker is the one that does."""

    def __init__(self, store: AnswerStore, leads: Callable[[], bool]) -> None:
        self._store, self._leads = store, leads
        self._steps: Iterator[int] = iter(())
        self._due = time.monotonic()

    def step(self) -> None:
        """One step of a pruning that is under way or due."""
        try:
            if time.monotonic() >= self._due and self._leads():
                self._due = time.monotonic() + PRUNE_SECONDS
                self._steps = self._store.prune(time.time())
            next(self._steps, None)
        except Exception:
            log.exception("answers are not pruned")


def _answers(rows: list[Noted]) -> Answers:
    ids, revisions, labels, logits, flags = zip(*rows, strict=True)
    return Answers(ids, np.array(revisions), np.array(labels), softmax(np.stack(logits)), np.stack(flags))
