"""A turn: work that is done one at a time, and refused where too many wait already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.problems import RETRY_AFTER, Problem

MOST_WAITING = 4


class Turn:
    """Of one event loop. `what` is named in the problem: "reports"."""

    def __init__(self, what: str) -> None:
        self._what, self._lock, self._waiting = what, asyncio.Lock(), 0

    @asynccontextmanager
    async def waited_for(self) -> AsyncIterator[None]:
        """Wait for it and hold it, however many wait."""
        async with self._lock:
            yield

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """The same. Problem 429 where some who said so wait already."""
        if self._waiting >= MOST_WAITING:
            raise Problem(429, f"too-many-{self._what}", f"other {self._what} wait already", headers=RETRY_AFTER)
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1
