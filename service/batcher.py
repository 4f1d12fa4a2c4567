"""Batches: what came while the last one was worked on is the next, so that nobody waits for company.

ask ─▶ admitted or refused ─▶ waiting ─▶ a turn: on the event loop while that is cheaper than a thread, else beside it
─▶ told ─▶ afterwards
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Generic, NoReturn, TypeVar

from service.admission import Admission
from service.problems import RETRY_AFTER, Problem
from service.waiting import Batch, Item, Waiting
from service.work import Counts, Postponed, Work, Worked

Given = TypeVar("Given")
Found = TypeVar("Found")

LARGEST_BATCH = 64
LANES = 2  # batches under way: one decodes while the other computes
INLINE_SECONDS = 0.001  # of one image: a thread costs about a tenth of it to go to and come from
ALONE_SECONDS = 0.004  # where there is no other core for a thread to run on
TURN_SECONDS = 0.016  # for which the event loop is to be held up at once
MOST_WAITING = 512  # items, each with a connection that is held
MOST_BYTES = 256 << 20
SMOOTHING = 0.1
SWEEP_SECONDS = 0.25


class Batcher(Generic[Given, Found]):
    """Works items off in batches, each with its own result or error; of one event loop.

    An item is one image or several that are answered together; all that is counted here is images. A batch has 64 of
    them at most, or is one item that has more.

    `work` is called on the loop, lightly, where one image takes less than `inline` seconds and `quick` says that
    nothing else will take long, and else on threads, two batches at a time. What is to be done `afterwards` is done on
    the loop, once those who asked have been told. Refuses at once (503 with Retry-After) what would wait for too long,
    as `Admission` has it, and what would make those that wait more than 512 items or 256 MiB; TimeoutError after
    `timeout` seconds.
    """

    def __init__(
        self, work: Work[Given, Found], *, patience: float, timeout: float, counts: Counts,
        inline: float = INLINE_SECONDS, quick: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self._work, self._timeout, self._counts, self._inline, self._quick = work, timeout, counts, inline, quick
        self._admission = Admission(patience)
        self._waiting: Waiting[Given, Found] = Waiting()
        self._under_way: list[Batch[Given, Found]] = []  # beside the loop, the oldest first
        self._seconds = math.inf  # of one image, as measured; the first goes to a thread
        self._turn_due = False
        self._threads = ThreadPoolExecutor(LANES, thread_name_prefix="predict")
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many images wait or are worked on."""
        return self._waiting.n + sum(batch.n for batch in self._under_way)

    @property
    def bytes_waiting(self) -> int:
        """Of the items that wait."""
        return self._waiting.size

    @property
    def busy_for(self) -> float:
        """For how many seconds the oldest batch has been worked on."""
        return time.monotonic() - self._under_way[0].begun if self._under_way else 0.0

    def crowded(self, own: int) -> bool:
        """Whether who would have so many images of his own on the way should hold back, to leave room for others."""
        if own <= LANES or self._seconds == math.inf:
            return False
        return not self._admission.is_short(2 * max(self._queue, (own - LANES) * self._seconds / self._lanes))

    def refuses(self, size: int = 0) -> bool:
        """Whether an item of so many bytes is refused: it would wait for too long, or be too much to keep."""
        queue = self._queue if len(self._waiting) < MOST_WAITING else math.inf
        return self._waiting.size + size > MOST_BYTES or not self._admission.admits(queue, self._soonest)

    def refuse_or_admit(self, size: int, n: int = 1) -> None:
        """Problem 503 where an item of so many bytes and images is refused."""
        if self.refuses(size):
            self._refuse(n)

    async def ask(
        self, given: Given, size: int, n: int = 1, *, departed: Callable[[], bool] = lambda: False,
        admitted: bool = False,
    ) -> Found:  # fmt: skip
        """The result for one item of so many bytes and images. Raises what `work` found, Problem 503, TimeoutError.

        ClientDisconnect where `departed` is true when its turn comes: nobody is there to be answered. One that was
        `admitted` is refused for its bytes alone.
        """
        if not admitted:
            self.refuse_or_admit(size, n)
        elif self._waiting.size + size > MOST_BYTES:
            self._refuse(n)
        loop = asyncio.get_running_loop()
        item: Item[Given, Found] = Item(
            given, n, size, time.monotonic() + self._timeout, departed, loop.create_future()
        )
        self._waiting.add(item)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
        if not self._turn_due and len(self._under_way) < LANES:
            await self._lead(item)
        found: Found = await item.done
        return found

    def close(self) -> None:
        """Begin nothing more: what is still under way has nobody who waits for it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _lanes(self) -> int:
        return 1 if self._seconds < self._inline else LANES

    @property
    def _queue(self) -> float:
        """Seconds of work that waits; 0 where that is not known yet."""
        return self._waiting.n * self._seconds / self._lanes if self._seconds < math.inf else 0.0

    @property
    def _soonest(self) -> float:
        """Seconds until a lane is free."""
        if len(self._under_way) < LANES or self._seconds == math.inf:
            return 0.0
        now = time.monotonic()
        return min(max(0.0, one.n * self._seconds - (now - one.begun)) for one in self._under_way)

    def _refuse(self, n: int) -> NoReturn:
        self._counts.turned_away(n)
        raise Problem(503, "overloaded", f"{self.depth} images are before this one", headers=RETRY_AFTER)

    async def _lead(self, item: Item[Given, Found]) -> None:
        """Take the turn oneself, and one's own result from it, once all that has come by now waits too."""
        self._turn_due = True
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            item.done.cancel()
            asyncio.get_running_loop().call_soon(self._turn)
            raise
        self._turn()

    def _see_to_a_turn(self) -> None:
        if self._waiting and not self._turn_due and len(self._under_way) < LANES:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Take a batch and work it off, here or beside."""
        self._turn_due = False
        here = self._seconds < self._inline and not self._under_way and self._quick()
        most = min(LARGEST_BATCH, max(1, int(TURN_SECONDS / self._seconds))) if here else LARGEST_BATCH
        batch = self._waiting.take(most)
        if not batch.items:
            return
        waiting = self._waiting.n
        if here and batch.n <= most:
            self._here(batch)
        else:
            self._begin_beside(batch)
        self._see_to_a_turn()
        asyncio.get_running_loop().call_soon(self._counts.batch, batch.n, waiting)  # behind the answers

    def _here(self, batch: Batch[Given, Found]) -> None:
        if postponed := self._tell(batch, *self._worked(batch, light=True)):
            self._begin_beside(Batch(postponed, sum(item.n for item in postponed), batch.begun))

    def _begin_beside(self, batch: Batch[Given, Found]) -> None:
        self._under_way.append(batch)
        asyncio.get_running_loop().create_task(self._beside(batch))

    async def _beside(self, batch: Batch[Given, Found]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        try:
            worked, seconds = await run(self._threads, partial(self._worked, batch, light=False))
        except RuntimeError as error:  # the threads have ended
            worked, seconds = Worked([error] * len(batch.items)), 0.0
        finally:
            self._under_way.remove(batch)
        self._tell(batch, worked, seconds)
        self._see_to_a_turn()

    def _worked(self, batch: Batch[Given, Found], *, light: bool) -> tuple[Worked[Found], float]:
        begun = time.perf_counter()
        try:
            worked = self._work([item.given for item in batch.items], light=light)
        except Exception as error:  # of the whole batch, and so of each
            worked = Worked([error] * len(batch.items))
        return worked, time.perf_counter() - begun

    def _tell(
        self, batch: Batch[Given, Found], worked: Worked[Found], seconds: float
    ) -> list[Item[Given, Found]]:  # fmt: skip
        """Tell everybody, but those whose items are postponed, which come back."""
        if seconds:
            own = seconds / batch.n
            self._seconds = own if self._seconds == math.inf else self._seconds + SMOOTHING * (own - self._seconds)
        postponed = []
        for item, found in zip(batch.items, worked.found, strict=True):
            if isinstance(found, Postponed):
                postponed.append(item)
            else:
                item.tell(found)
        asyncio.get_running_loop().call_soon(worked.afterwards)  # behind those who were told, who answer first
        return postponed

    def _sweep(self) -> None:
        """One timer for all that wait: a timer each would outlive its request by far."""
        now = time.monotonic()
        for item in chain(self._waiting, *(batch.items for batch in self._under_way)):
            item.overdue(now)
        again = asyncio.get_running_loop().call_later
        self._sweeper = again(SWEEP_SECONDS, self._sweep) if self._waiting or self._under_way else None
