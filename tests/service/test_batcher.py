"""Batches: nobody's error is another's, nobody waits for company, and who cannot be served is told at once."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from service.batcher import INLINE_SECONDS, LANES, LARGEST_BATCH, MOST_BYTES, Batcher, Worked
from service.problems import Problem


class Work:
    """Doubles numbers, and remembers the batches and where they were worked on."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.batches, self.threads = seconds, list[list[int]](), set[str]()
        self.together = self.most_together = 0
        self.lock = threading.Lock()

    def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        with self.lock:
            self.batches.append(list(batch))
            self.threads.add(threading.current_thread().name)
            self.together += 1
            self.most_together = max(self.together, self.most_together)
        time.sleep(self.seconds)
        with self.lock:
            self.together -= 1
        return [ValueError(f"{n} is odd") if n % 2 else 2 * n for n in batch]


class Counts:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.batches, self.refused = list[tuple[int, int]](), 0

    def batch(self, size: int, waiting: int) -> None:
        self.batches.append((size, waiting))

    def turned_away(self, n: int) -> None:
        self.refused += n


def batcher(work: Callable[[Sequence[int]], Sequence[int | Exception]], **options: Any) -> Batcher[int, int]:
    options = {"patience": 60, "timeout": 60, "counts": Counts()} | options
    return Batcher(lambda batch: Worked(work(batch)), **options)


async def all_of(one: Batcher[int, int], numbers: Sequence[int]) -> list[Any]:
    return await asyncio.gather(*(one.ask(n, 1) for n in numbers), return_exceptions=True)


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_each_gets_its_own_result_or_error(seconds: float) -> None:
    work = Work(seconds)
    found = asyncio.run(all_of(batcher(work), range(300)))
    for n, result in enumerate(found):
        assert str(result) == (f"{n} is odd" if n % 2 else str(2 * n))
    assert sorted(n for batch in work.batches for n in batch) == list(range(300))
    assert max(map(len, work.batches)) <= LARGEST_BATCH


def test_one_alone_is_a_batch_and_what_came_meanwhile_is_the_next() -> None:
    work = Work(0.05)

    async def run() -> None:
        one = batcher(work)
        first = asyncio.ensure_future(one.ask(0, 1))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(one.ask(2, 1))  # the other lane: it decodes while the first computes
        await asyncio.sleep(0.01)
        rest = [asyncio.ensure_future(one.ask(n, 1)) for n in (4, 6, 8)]
        await asyncio.gather(first, second, *rest)

    asyncio.run(run())
    assert work.batches == [[0], [2], [4, 6, 8]]
    assert work.most_together == LANES


def test_what_is_quicker_than_a_thread_is_done_on_the_loop() -> None:
    work = Work()

    async def run() -> None:
        one = batcher(work)
        for n in range(0, 100, 2):
            assert await one.ask(n, 1) == 2 * n
        work.threads.clear()
        assert await one.ask(2, 1) == 4
        assert work.threads == {threading.current_thread().name}
        work.seconds = 3 * INLINE_SECONDS
        for _ in range(30):  # it has become slow: beside the loop again
            await one.ask(2, 1)
        work.threads.clear()
        await one.ask(2, 1)
        assert threading.current_thread().name not in work.threads

    asyncio.run(run())


def test_the_loop_is_not_held_up_for_long() -> None:
    work = Work(0.0005)

    async def run() -> float:
        one = batcher(work)
        await all_of(one, [2] * 20)
        asking = asyncio.ensure_future(all_of(one, [2] * 200))
        longest, last = 0.0, time.perf_counter()
        while not asking.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        return longest

    assert asyncio.run(run()) < 0.1


def test_who_has_gone_is_left_out() -> None:
    work = Work(0.05)

    async def run() -> None:
        one = batcher(work)
        first = [asyncio.ensure_future(one.ask(0, 1)) for _ in range(2)]
        await asyncio.sleep(0.01)
        gone, stays = (asyncio.ensure_future(one.ask(n, 1)) for n in (10, 12))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == 24
        await asyncio.gather(*first)
        assert one.depth == 0

    asyncio.run(run())
    assert 10 not in [n for batch in work.batches for n in batch]


@pytest.mark.parametrize("seconds", [0.0, 3 * INLINE_SECONDS])
def test_whoever_is_cancelled_before_its_turn_takes_nobodys(seconds: float) -> None:
    async def run() -> None:
        one = batcher(Work(seconds))
        await one.ask(0, 1)
        leads, follows = (asyncio.ensure_future(one.ask(n, 1)) for n in (2, 4))
        await asyncio.sleep(0)
        leads.cancel()
        assert await asyncio.wait_for(follows, 5) == 8
        assert await asyncio.wait_for(one.ask(6, 1), 5) == 12
        assert one.depth == 0

    asyncio.run(run())


def test_who_has_departed_when_its_turn_comes_is_left_out_and_told_so() -> None:
    work, told, left = Work(0.05), Counts(), set[int]()

    async def run() -> None:
        one = batcher(work, counts=told)
        asked = [asyncio.ensure_future(one.ask(n, 1, departed=partial(left.__contains__, n))) for n in range(0, 20, 2)]
        await asyncio.sleep(0.01)
        later = [asyncio.ensure_future(one.ask(n, 1, departed=partial(left.__contains__, n))) for n in range(20, 40, 2)]
        third = [asyncio.ensure_future(one.ask(n, 1, departed=partial(left.__contains__, n))) for n in range(40, 60, 2)]
        left.update(range(0, 60, 4))  # the first turn has come
        assert await asyncio.gather(*asked) == [2 * n for n in range(0, 20, 2)]
        found = await asyncio.gather(*later, *third, return_exceptions=True)
        for n, result in zip(range(20, 60, 2), found, strict=True):
            assert isinstance(result, ClientDisconnect) if n in left else result == 2 * n
        assert one.depth == one.bytes_waiting == 0

    asyncio.run(run())
    assert not left & {n for batch in work.batches[1:] for n in batch}
    assert sum(size for size, _ in told.batches) == 20


def test_how_long_it_is_busy() -> None:
    holds = [threading.Event() for _ in range(LANES)]

    def work(batch: Sequence[int]) -> list[int | Exception]:
        holds[batch[0]].wait(30)
        return list(batch)

    async def run() -> None:
        one = batcher(work, timeout=0.1)
        assert one.busy_for == 0
        asked = []
        for lane in range(LANES):
            asked.append(asyncio.ensure_future(one.ask(lane, 1)))
            await asyncio.sleep(0.2)
        first = one.busy_for
        assert first > 0.2 * (LANES - 1)
        assert {type(result) for result in await asyncio.gather(*asked, return_exceptions=True)} == {TimeoutError}
        assert one.busy_for >= first, "whoever waited was told; the lanes are held all the same"
        holds[0].set()
        while one.depth == LANES:
            await asyncio.sleep(0.01)
        assert 0 < one.busy_for < first + 30
        for hold in holds:
            hold.set()
        while one.depth:
            await asyncio.sleep(0.01)
        assert one.busy_for == 0

    asyncio.run(run())


def test_who_would_wait_too_long_is_refused_at_once() -> None:
    work = Work(0.05)

    async def run() -> None:
        one = batcher(work, patience=0.4)
        await one.ask(2, 1)  # it knows now how long one takes
        asked = [asyncio.ensure_future(one.ask(2, 1)) for _ in range(30)]
        begun = time.perf_counter()
        found = await asyncio.gather(*asked, return_exceptions=True)
        refused = [result for result in found if isinstance(result, Problem)]
        assert refused
        assert len(refused) < 30
        assert {(one.status, one.kind) for one in refused} == {(503, "overloaded")}
        assert all(int(one.headers["Retry-After"]) >= 1 for one in refused)
        assert time.perf_counter() - begun < 1
        with pytest.raises(Problem, match="0 images are before this one"):
            await one.ask(2, MOST_BYTES + 1)

    asyncio.run(run())


def test_who_waits_longer_than_the_timeout_is_told_whether_its_turn_came_or_not() -> None:
    async def run() -> None:
        one = batcher(Work(1.0), timeout=0.2)
        begun = time.perf_counter()
        found = await all_of(one, [2, 4, 6, 8])
        assert [type(result) for result in found] == [TimeoutError] * 4
        assert time.perf_counter() - begun < 0.9

    asyncio.run(run())


def test_an_error_of_the_work_is_everybodys_and_the_next_batch_goes_on() -> None:
    calls = 0

    def work(batch: Sequence[int]) -> list[int | Exception]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no memory")
        return list(batch)

    async def run() -> None:
        one = batcher(work)
        assert [str(result) for result in await all_of(one, [1, 2, 3])] == ["no memory"] * 3
        assert await all_of(one, [1, 2, 3]) == [1, 2, 3]

    asyncio.run(run())


@pytest.mark.parametrize("seconds", [0.0, 3 * INLINE_SECONDS])
def test_afterwards_comes_once_all_have_been_told(seconds: float) -> None:
    order: list[str] = []

    def work(batch: Sequence[int]) -> Worked[int]:
        time.sleep(seconds)
        return Worked(batch, lambda: order.append(f"after {len(batch)}"))

    async def one_of(asked: Batcher[int, int], n: int) -> None:
        await asked.ask(n, 1)
        order.append("told")

    async def run() -> None:
        one: Batcher[int, int] = Batcher(work, patience=60, timeout=60, counts=Counts())
        await one_of(one, 0)
        await asyncio.sleep(0)
        assert order == ["told", "after 1"]
        order.clear()
        await asyncio.gather(*(one_of(one, n) for n in range(3)))
        await asyncio.sleep(0)

    asyncio.run(run())
    told = 0
    for word in order:
        told += 1 if word == "told" else -int(word.removeprefix("after "))
        assert told >= 0, order
    assert told == 0


def test_what_happens_is_told() -> None:
    told = Counts()
    asyncio.run(all_of(batcher(Work(0.01), counts=told), [2] * 100))
    assert sum(size for size, _ in told.batches) == 100
    assert told.batches[0] == (64, 36)
    assert told.refused == 0

    async def run() -> None:
        one = batcher(Work(), counts=told)
        for size in (1, MOST_BYTES + 1):
            await asyncio.gather(one.ask(2, size), return_exceptions=True)

    asyncio.run(run())
    assert told.refused == 1


class Groups:
    """Remembers the batches of items that have so many images, and where they were worked on."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.batches, self.threads = seconds, list[list[int]](), list[str]()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds * sum(batch))
        return list(batch)


@pytest.mark.parametrize(
    ("items", "batches"),
    [
        ([1] * 65, [[1] * 64, [1]]),
        ([60, 4, 1], [[60, 4], [1]]),
        ([60, 5, 1], [[60], [5, 1]]),
        ([64, 64], [[64], [64]]),
        ([200, 1, 2], [[200], [1, 2]]),
        ([1, 200, 2], [[1], [200], [2]]),
        ([63, 1, 65], [[63, 1], [65]]),
    ],
)
def test_a_batch_has_so_many_images_at_most_or_is_one_item(items: list[int], batches: list[list[int]]) -> None:
    work, told = Groups(), Counts()

    async def run() -> None:
        one = batcher(work, counts=told)
        asked = [asyncio.ensure_future(one.ask(n, 1, n)) for n in items]
        await asyncio.sleep(0)
        assert one.depth == sum(items)
        assert await asyncio.gather(*asked) == items
        assert (one.depth, one.bytes_waiting) == (0, 0)

    asyncio.run(run())
    assert sorted(work.batches) == sorted(batches), "two lanes may begin in either order"
    assert [size for size, _ in told.batches] == [sum(batch) for batch in batches]
    assert told.batches[-1][1] == 0


def test_an_item_of_many_images_is_worked_on_beside_the_loop() -> None:
    work = Groups(0.0005)

    async def run() -> None:
        one = batcher(work)
        for _ in range(20):
            await one.ask(1, 1)
        assert work.threads[-1] == threading.current_thread().name
        await one.ask(64, 1, 64)  # 32 ms: the loop would be held up
        assert work.threads[-1] != threading.current_thread().name

    asyncio.run(run())


def test_who_waits_behind_many_images_is_refused_for_their_time() -> None:
    told = Counts()

    async def run() -> None:
        one = batcher(Groups(0.002), patience=0.8, counts=told)
        await one.ask(64, 1, 64)
        many = [asyncio.ensure_future(one.ask(256, 1, 256)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Problem, match="512 images are before this one"):
            await one.ask(3, 1, 3)
        assert told.refused == 3
        await asyncio.gather(*many)
        assert await one.ask(3, 1, 3) == 3

    asyncio.run(run())
