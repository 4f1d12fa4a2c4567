"""Requests that are being read: what they hold together, and the one thread on which large ones are taken apart."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from service.problems import RETRY_AFTER, Problem

Charge = Callable[[int], None]
Found = TypeVar("Found")

MOST_BYTES = 256 << 20


class Reading:
    """The bodies that one worker reads, of `most` bytes together; of one event loop.

    A body counts by what has arrived of it: who announces much and sends nothing takes nothing from others.
    `turned_away` is told of each that is refused.
    """

    def __init__(self, most: int = MOST_BYTES, turned_away: Callable[[int], None] = lambda _: None) -> None:
        self._most, self._turned_away, self._bytes = most, turned_away, 0
        # One: a thread more would hold as much again, and take as much of the interpreter from the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read")

    @contextmanager
    def body(self) -> Iterator[Charge]:
        """While a body is read; `charge` is told of bytes as they arrive. Problem 503 where they are too many."""
        own = 0

        def charge(n: int) -> None:
            nonlocal own
            if self._bytes + n > self._most:
                self._turned_away(1)
                detail = f"expected at most {self._most:,} bytes of requests that are being read, got more"
                raise Problem(503, "overloaded", detail, headers=RETRY_AFTER)
            self._bytes += n
            own += n

        try:
            yield charge
        finally:
            self._bytes -= own

    async def beside(self, read: Callable[[], Found]) -> Found:
        """What `read` finds, beside the event loop, after all that were asked before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, read)

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
