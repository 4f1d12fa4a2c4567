"""Batches: what came while the last one was worked on is the next, so that nobody waits for company.

ask ─▶ admitted or refused ─▶ queue ─▶ a turn: on the event loop while that is cheaper than a thread, else beside it
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from service.problems import Problem

Given = TypeVar("Given")
Found = TypeVar("Found")

LARGEST_BATCH = 64
LANES = 2  # batches under way: one decodes while the other computes
INLINE_SECONDS = 0.001  # of one image: a thread costs about a tenth of it to go to and come from
TURN_SECONDS = 0.004  # for which the event loop may be held up at once
MOST_BYTES = 256 << 20
SMOOTHING = 0.1
SWEEP_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class _Item(Generic[Given, Found]):
    given: Given
    n: int
    size: int
    deadline: float
    done: "asyncio.Future[Found]" = field(repr=False)


class Counts(Protocol):
    """What is told of batches, on the event loop."""

    def batch(self, size: int, waiting: int) -> None:
        """A batch of so many images begins; so many more wait."""

    def turned_away(self, n: int) -> None:
        """So many images were refused."""


class Batcher(Generic[Given, Found]):
    """Works items off in batches, each with its own result or error; of one event loop.

    An item is one image or several that are answered together; all that is counted here is images. A batch has 64 of
    them at most, or is one item that has more.

    `work` answers a batch: a result or an exception for each item, in order. It is called on the loop where one image
    takes less than a millisecond and `quick` says that nothing else will take long, and else on threads, two batches at
    a time. An item whose asker has gone is left out if its turn has not come. Refuses at once (503 with Retry-After)
    what would wait longer than `patience` seconds, and what would make those that wait more than 256 MiB; TimeoutError
    after `timeout` seconds.
    """

    def __init__(
        self, work: Callable[[Sequence[Given]], Sequence[Found | Exception]], *, patience: float, timeout: float,
        counts: Counts, quick: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._work, self._patience, self._timeout, self._counts = work, patience, timeout, counts
        self._quick = quick
        self._waiting: deque[_Item[Given, Found]] = deque()
        self._under_way: set[_Item[Given, Found]] = set()
        self._bytes = self._bytes_expected = self._lanes = self._n_waiting = self._n_under_way = 0
        self._seconds = math.inf  # of one image, as measured; the first goes to a thread
        self._turn_due = False
        self._threads = ThreadPoolExecutor(LANES, thread_name_prefix="predict")
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many images wait or are worked on."""
        return self._n_waiting + self._n_under_way

    @property
    def bytes_waiting(self) -> int:
        """Of the items that wait."""
        return self._bytes

    def refuse_or_admit(self, size: int, n: int = 1) -> None:
        """Problem 503 where an item of so many bytes and images would wait too long."""
        wait = self.depth * self._seconds if self._seconds < math.inf else 0.0
        if wait > self._patience or self._bytes + size > MOST_BYTES:
            self._counts.turned_away(n)
            raise Problem(503, "overloaded", f"{self.depth} images are before this one",
                          headers={"Retry-After": str(max(1, math.ceil(wait)))})  # fmt: skip

    @contextmanager
    def expecting(self, size: int) -> Iterator[None]:
        """While a request of so many bytes is read. Problem 503 where those that are read have more than 256 MiB."""
        self.refuse_or_admit(self._bytes_expected + size)
        self._bytes_expected += size
        try:
            yield
        finally:
            self._bytes_expected -= size

    async def ask(self, given: Given, size: int, n: int = 1) -> Found:
        """The result for one item of so many bytes and images. Raises what `work` found, Problem 503, TimeoutError."""
        self.refuse_or_admit(size, n)
        loop = asyncio.get_running_loop()
        item = _Item(given, n, size, time.monotonic() + self._timeout, loop.create_future())
        self._waiting.append(item)
        self._bytes += size
        self._n_waiting += n
        if not self._turn_due and self._lanes < LANES:
            self._turn_due = True
            loop.call_soon(self._turn)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
        found: Found = await item.done
        return found

    def close(self) -> None:
        """Finish what is under way."""
        self._threads.shutdown()

    def _turn(self) -> None:
        """Take a batch and work it off, here or beside."""
        self._turn_due = False
        quick = self._seconds < INLINE_SECONDS and not self._lanes and self._quick()
        most = min(LARGEST_BATCH, max(1, int(TURN_SECONDS / self._seconds))) if quick else LARGEST_BATCH
        batch, n = self._taken(most)
        if not batch:
            return
        self._counts.batch(n, self._n_waiting)
        if quick and n <= most:
            self._finish(batch, n, *self._worked(batch))
        else:
            self._lanes += 1
            self._under_way.update(batch)
            self._n_under_way += n
            asyncio.get_running_loop().create_task(self._beside(batch, n))
        if self._waiting and self._lanes < LANES:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    async def _beside(self, batch: list[_Item[Given, Found]], n: int) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._worked, batch)
        finally:
            self._lanes -= 1
            self._under_way.difference_update(batch)
            self._n_under_way -= n
        self._finish(batch, n, *found)
        if self._waiting and not self._turn_due:
            self._turn_due = True
            self._turn()

    def _taken(self, most: int) -> tuple[list[_Item[Given, Found]], int]:
        """The next items and how many images they have: `most` at most, or the next item has more."""
        batch, n = list[_Item[Given, Found]](), 0
        while self._waiting and (not batch or n + self._waiting[0].n <= most):
            item = self._waiting.popleft()
            self._bytes -= item.size
            self._n_waiting -= item.n
            if not item.done.done():
                batch.append(item)
                n += item.n
        return batch, n

    def _worked(self, batch: list[_Item[Given, Found]]) -> tuple[Sequence[Found | Exception], float]:
        begun = time.perf_counter()
        try:
            found = self._work([item.given for item in batch])
        except Exception as error:  # of the whole batch, and so of each
            found = [error] * len(batch)
        return found, time.perf_counter() - begun

    def _finish(
        self, batch: list[_Item[Given, Found]], n: int, found: Sequence[Found | Exception], seconds: float
    ) -> None:
        own = seconds / n
        self._seconds = own if self._seconds == math.inf else self._seconds + SMOOTHING * (own - self._seconds)
        for item, result in zip(batch, found, strict=True):
            if item.done.done():
                continue
            if isinstance(result, Exception):
                item.done.set_exception(result)
            else:
                item.done.set_result(result)

    def _sweep(self) -> None:
        """One timer for all that wait: a timer each would outlive its request by far."""
        now = time.monotonic()
        for item in (*self._under_way, *self._waiting):
            if item.deadline < now and not item.done.done():
                item.done.set_exception(TimeoutError())
        again = asyncio.get_running_loop().call_later
        self._sweeper = again(SWEEP_SECONDS, self._sweep) if self.depth else None
