"""Open-loop load at a constant rate: `python -m benchmarks.serving.open_loop` reads a plan.

A request is due at its own time, whatever became of those before it, and its latency runs from then: while a server
stalls, what was due waits and counts (no coordinated omission). Connections are opened as they are needed, up to a
bound; what finds none free waits its turn.
"""

import asyncio
import ctypes
import json
import os
import struct
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import numpy as np
import uvloop

from benchmarks.serving.pinned import given

CONNECTIONS = 1024
WARM_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
LOST = 0
CLOCK_MONOTONIC, ABSOLUTE = 1, 1


@dataclass(frozen=True)
class Seen:
    """Of the requests due after the first second of warming up. Times in ms, from when a request was due.

    `good` were answered 2xx, `refused` 429 or 503, `failed` otherwise or not at all. `p50`, `p99` and `longest` are of
    the good ones, infinite where there are none; `p99_of_all` counts every other one as infinitely long. `late` is the
    99th percentile of how late this generator itself was.
    """

    rate: float
    seconds: float
    offered: int
    good: int
    refused: int
    failed: int
    p50: float
    p99: float
    longest: float
    p99_of_all: float
    late: float
    connections: int

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds


class Ticks:
    """Linux's own interval timer: wakes the loop at each due time, to the microsecond, and counts those it missed."""

    def __init__(self, first: int, interval: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK)
        times = (ctypes.c_long * 4)(*divmod(interval, 10**9), *divmod(first, 10**9))
        if self.descriptor < 0 or libc.timerfd_settime(self.descriptor, ABSOLUTE, times, None):
            raise OSError(ctypes.get_errno(), "no timer")

    def passed(self) -> int:
        """How many came since the last call."""
        try:
            return int(struct.unpack("Q", os.read(self.descriptor, 8))[0])
        except BlockingIOError:
            return 0


class Connection(asyncio.Protocol):
    """Carries one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load, self._at = load, -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._load.made(self)

    def hang_up(self) -> None:
        self._transport.abort()

    def send(self, at: int) -> None:
        """The request that was due as number `at`."""
        self._at = at
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        at, self._at = self._at, -1
        self._load.answered(at, self._parser.get_status_code())
        if self._parser.should_keep_alive():
            self._load.free(self)
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self, self._at)


class Load:
    """Sends `n` requests, one each `interval` nanoseconds, and notes when each was answered, and how."""

    def __init__(self, host: str, port: int, request: bytes, interval: int, n: int, most: int) -> None:
        self._address, self.request, self._interval, self._n, self._most = (host, port), request, interval, n, most
        self.latency = np.full(n, np.inf)
        self.status = np.full(n, LOST)
        self.late = np.zeros(n)
        self._free: list[Connection] = []
        self._connections: set[Connection] = set()
        self._waiting: deque[int] = deque()
        self._due = self._open = self.opened = self._done = 0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Until all are answered, or those that are not have had their time."""
        loop = asyncio.get_running_loop()
        self._first = time.monotonic_ns() + 10_000_000
        self._ticks = Ticks(self._first, self._interval)
        loop.add_reader(self._ticks.descriptor, self._tick)
        try:
            async with asyncio.timeout(self._n * self._interval / 1e9 + PATIENCE_SECONDS):
                await self.finished
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._ticks.descriptor)
            await self._hang_up()
            os.close(self._ticks.descriptor)

    def made(self, connection: Connection) -> None:
        """It is open."""
        self._connections.add(connection)
        self.free(connection)

    def free(self, connection: Connection) -> None:
        """It can carry a request: the one that waits longest."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._free.append(connection)

    def answered(self, at: int, status: int) -> None:
        self.latency[at] = self._since(at)
        self._settle(at, status)

    def lost(self, connection: Connection, at: int) -> None:
        """Closed by either side; with a request under way, that has failed."""
        self._open -= 1
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if at >= 0:
            self._settle(at, LOST)
        self._open_for_waiting()

    def _tick(self) -> None:
        for _ in range(self._ticks.passed()):
            if self._due == self._n:
                return
            at, self._due = self._due, self._due + 1
            self.late[at] = self._since(at)
            if self._free:
                self._free.pop().send(at)
            else:
                self._waiting.append(at)
                self._open_for_waiting()

    def _open_for_waiting(self) -> None:
        if self._waiting and self._open < self._most:
            self._open += 1
            self.opened += 1
            asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), *self._address)
        except OSError:
            self._open -= 1
            if self._waiting:
                self._settle(self._waiting.popleft(), LOST)

    async def _hang_up(self) -> None:
        """Close what is open, while the loop still runs."""
        self._waiting.clear()
        while self._connections:
            for connection in self._connections:
                connection.hang_up()
            await asyncio.sleep(0.01)

    def _settle(self, at: int, status: int) -> None:
        self.status[at] = status
        self._done += 1
        if self._done == self._n and not self.finished.done():
            self.finished.set_result(None)

    def _since(self, at: int) -> float:
        """Milliseconds since it was due."""
        return (time.monotonic_ns() - self._first - at * self._interval) / 1e6


async def driven(
    host: str, port: int, request: bytes, rate: float, seconds: float, connections: int = CONNECTIONS
) -> Seen:  # fmt: skip
    """What became of `seconds` at `rate`, after a second of the same to warm up."""
    interval, warm = round(1e9 / rate), round(WARM_SECONDS * rate)
    load = Load(host, port, request, interval, warm + max(1, round(seconds * rate)), connections)
    await load.run()
    return seen(load.latency[warm:], load.status[warm:], load.late[warm:], interval, load.opened)


def seen(latency: np.ndarray, status: np.ndarray, late: np.ndarray, interval: int, opened: int) -> Seen:
    """Latencies in ms, infinite where there was no answer; a status each."""
    good = (status >= 200) & (status < 300)
    counted = Counter(status.tolist())
    refused = counted[429] + counted[503]
    n, answered = len(status), int(good.sum())
    p50, p99, longest = ([percentile(latency[good], share) for share in (50, 99, 100)]
                         if answered else [float("inf")] * 3)  # fmt: skip
    return Seen(1e9 / interval, n * interval / 1e9, n, answered, refused, n - answered - refused, p50, p99, longest,
                percentile(np.where(good, latency, np.inf), 99), percentile(late, 99), opened)  # fmt: skip


def percentile(values: np.ndarray, share: float) -> float:
    """The least value that `share` percent do not exceed."""
    return float(np.quantile(values, share / 100, method="inverted_cdf"))


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(driven(**given())))))
