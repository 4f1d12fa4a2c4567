"""Batches: what came while the last one was worked on is the next, so that nobody waits for company.

ask ─▶ admitted or refused ─▶ queue ─▶ a turn: on the event loop while that is cheaper than a thread, else beside it
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from starlette.requests import ClientDisconnect

from service.problems import Problem

Given = TypeVar("Given")
Found = TypeVar("Found")

LARGEST_BATCH = 64
LANES = 2  # batches under way: one decodes while the other computes
INLINE_SECONDS = 0.001  # of one item: a thread costs about a tenth of it to go to and come from
TURN_SECONDS = 0.004  # for which the event loop may be held up at once
MOST_BYTES = 256 << 20
SMOOTHING = 0.1
SWEEP_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class _Item(Generic[Given, Found]):
    given: Given
    size: int
    deadline: float
    done: "asyncio.Future[Found]" = field(repr=False)
    departed: Callable[[], bool]


class Counts(Protocol):
    """What is told of batches, on the event loop."""

    def batch(self, size: int, waiting: int) -> None:
        """A batch begins; so many more wait."""

    def turned_away(self) -> None:
        """An item was refused."""


class Batcher(Generic[Given, Found]):
    """Works items off in batches, each with its own result or error; of one event loop.

    `work` answers a batch: a result or an exception for each item, in order. It is called on the loop where one item
    takes less than a millisecond and `quick` says that nothing else will take long, and else on threads, two batches at
    a time. An item whose asker was cancelled or has `departed` when its turn comes is left out. Refuses at
    once (503 with Retry-After) what would wait longer than `patience` seconds, and what would make those that wait more
    than 256 MiB; TimeoutError after `timeout` seconds.
    """

    def __init__(
        self, work: Callable[[Sequence[Given]], Sequence[Found | Exception]], *, patience: float, timeout: float,
        counts: Counts, quick: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._work, self._patience, self._timeout, self._counts = work, patience, timeout, counts
        self._quick = quick
        self._waiting: deque[_Item[Given, Found]] = deque()
        self._under_way: set[_Item[Given, Found]] = set()
        self._bytes = self._lanes = 0
        self._begun: list[float] = []  # of each batch beside the loop, the oldest first
        self._seconds = math.inf  # of one item, as measured; the first goes to a thread
        self._turn_due = False
        self._threads = ThreadPoolExecutor(LANES, thread_name_prefix="predict")
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many items wait or are worked on."""
        return len(self._waiting) + len(self._under_way)

    @property
    def bytes_waiting(self) -> int:
        """Of the items that wait."""
        return self._bytes

    @property
    def busy_for(self) -> float:
        """For how many seconds the oldest batch has been worked on."""
        return time.monotonic() - self._begun[0] if self._begun else 0.0

    def refuse_or_admit(self, size: int) -> None:
        """Problem 503 where an item of so many bytes would wait too long."""
        wait = self.depth * self._seconds if self._seconds < math.inf else 0.0
        if wait > self._patience or self._bytes + size > MOST_BYTES:
            self._counts.turned_away()
            raise Problem(503, "overloaded", f"{self.depth} requests are before this one",
                          headers={"Retry-After": str(max(1, math.ceil(wait)))})  # fmt: skip

    async def ask(self, given: Given, size: int, departed: Callable[[], bool] = lambda: False) -> Found:
        """The result for one item of so many bytes. Raises what `work` found, Problem 503, TimeoutError.

        ClientDisconnect where `departed` is true when its turn comes: nobody is there to be answered.
        """
        self.refuse_or_admit(size)
        loop = asyncio.get_running_loop()
        item = _Item(given, size, time.monotonic() + self._timeout, loop.create_future(), departed)
        self._waiting.append(item)
        self._bytes += size
        if not self._turn_due and self._lanes < LANES:
            self._turn_due = True
            loop.call_soon(self._turn)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
        found: Found = await item.done
        return found

    def close(self) -> None:
        """Begin nothing more: what is still under way has nobody who waits for it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _turn(self) -> None:
        """Take a batch and work it off, here or beside."""
        self._turn_due = False
        inline = self._seconds < INLINE_SECONDS and not self._lanes and self._quick()
        most = max(1, int(TURN_SECONDS / self._seconds)) if inline else LARGEST_BATCH
        batch = self._taken(min(most, LARGEST_BATCH))
        if not batch:
            return
        self._counts.batch(len(batch), len(self._waiting))
        if inline:
            self._finish(batch, *self._worked(batch))
        else:
            self._lanes += 1
            self._under_way.update(batch)
            asyncio.get_running_loop().create_task(self._beside(batch))
        if self._waiting and self._lanes < LANES:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    async def _beside(self, batch: list[_Item[Given, Found]]) -> None:
        begun = time.monotonic()
        self._begun.append(begun)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._worked, batch)
        finally:
            self._begun.remove(begun)
            self._lanes -= 1
            self._under_way.difference_update(batch)
        self._finish(batch, *found)
        if self._waiting and not self._turn_due:
            self._turn_due = True
            self._turn()

    def _taken(self, most: int) -> list[_Item[Given, Found]]:
        batch: list[_Item[Given, Found]] = []
        while self._waiting and len(batch) < most:
            item = self._waiting.popleft()
            self._bytes -= item.size
            if item.done.done():
                continue
            if item.departed():
                item.done.set_exception(ClientDisconnect())
            else:
                batch.append(item)
        return batch

    def _worked(self, batch: list[_Item[Given, Found]]) -> tuple[Sequence[Found | Exception], float]:
        begun = time.perf_counter()
        try:
            found = self._work([item.given for item in batch])
        except Exception as error:  # of the whole batch, and so of each
            found = [error] * len(batch)
        return found, time.perf_counter() - begun

    def _finish(self, batch: list[_Item[Given, Found]], found: Sequence[Found | Exception], seconds: float) -> None:
        own = seconds / len(batch)
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
