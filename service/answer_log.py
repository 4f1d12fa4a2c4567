"""The log of answers: noted in the request path, stored and thinned out by a thread beside it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from decision import Decisions, softmax
from decision.arrays import Flags, Labels, Logits
from service.answers import Answers, AnswerStore
from service.database import StoreError

log = logging.getLogger("equipoise")

BATCH = 1_000
MOST_WAITING = 20_000
WRITE_SECONDS = 1.0
RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
PRUNE_SECONDS = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class _Noted:
    """A batch of n answers under one policy: calibrated logits and flags `(n, K)`, labels `(n,)`."""

    ids: Sequence[str]
    revision: int
    labels: Labels
    logits: Logits
    flags: Flags


class AnswerLog:
    """Notes answers in the request path; a thread stores them, once a second or a thousand at once.

    While the store is down at most MOST_WAITING wait: the oldest are dropped, and `dropped`, called from any thread, is
    told how many. Prunes where `leads()` is true.
    """

    def __init__(self, store: AnswerStore, *, leads: Callable[[], bool], dropped: Callable[[int], object]) -> None:
        self._store, self._dropped = store, dropped
        self._pruner = _Pruner(store, leads)
        self._noted: deque[_Noted] = deque()
        self._waiting, self._counting = 0, threading.Lock()
        self._down = False
        self._full, self._closed = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="answers", daemon=True)
        self._writer.start()

    def note(self, ids: Sequence[str], revision: int, decisions: Decisions, logits: Logits) -> None:
        """Keep n answers and their calibrated logits `(n, K)`: arrays that nobody changes any more."""
        self._noted.append(_Noted(ids, revision, decisions.labels, logits, decisions.flags))
        self._count(len(ids))
        if self._waiting >= BATCH:
            self._full.set()
            self._drop_oldest()

    def close(self) -> None:
        """Store what was noted, if the database takes it."""
        self._closed.set()
        self._full.set()
        self._writer.join(PATIENCE_SECONDS)
        if left := self._waiting:
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
        while taken := self._taken():
            try:
                self._store.append(_answers(taken))
            except StoreError as error:
                self._noted.extendleft(reversed(taken))
                self._count(_size(taken))
                self._drop_oldest()
                if not self._down:
                    log.error("answers wait to be stored: %s", error)
                self._down = True
                return False
            except Exception:  # these will never be stored; the next ones may
                log.exception("%d answers were not stored", _size(taken))
                self._dropped(_size(taken))
            self._down = False
        return True

    def _taken(self) -> list[_Noted]:
        """The oldest, about BATCH of them."""
        taken, n = list[_Noted](), 0
        with suppress(IndexError):  # other threads add, and drop the oldest
            while n < BATCH:
                taken.append(self._noted.popleft())
                n += len(taken[-1].ids)
        self._count(-n)
        return taken

    def _drop_oldest(self) -> None:
        gone = 0
        with suppress(IndexError):
            while self._waiting - gone > MOST_WAITING:
                gone += len(self._noted.popleft().ids)
        if gone:
            self._count(-gone)
            self._dropped(gone)

    def _count(self, n: int) -> None:
        with self._counting:
            self._waiting += n


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
        except StoreError as error:
            log.warning("answers are not pruned: %s", error)
        except Exception:
            log.exception("answers are not pruned")


def _size(noted: list[_Noted]) -> int:
    return sum(len(one.ids) for one in noted)


def _answers(noted: list[_Noted]) -> Answers:
    return Answers(
        tuple(own for one in noted for own in one.ids),
        np.repeat([one.revision for one in noted], [len(one.ids) for one in noted]),
        np.concatenate([one.labels for one in noted]),
        softmax(np.concatenate([one.logits for one in noted])),
        np.concatenate([one.flags for one in noted]),
    )
