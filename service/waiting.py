"""What waits for its turn, in order: how many images and bytes it has, and batches of it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from starlette.requests import ClientDisconnect

Given = TypeVar("Given")
Found = TypeVar("Found")


@dataclass(slots=True, eq=False)
class Item(Generic[Given, Found]):
    """What is given: `n` images of `size` bytes together; who waits for `done` may have departed."""

    given: Given
    n: int
    size: int
    deadline: float
    departed: Callable[[], bool]
    done: "asyncio.Future[Found]" = field(repr=False)

    def tell(self, found: Found | Exception) -> None:
        """The result or the error, if it is still waited for."""
        if self.done.done():
            return
        if isinstance(found, Exception):
            self.done.set_exception(found)
        else:
            self.done.set_result(found)

    def overdue(self, now: float) -> None:
        """TimeoutError for whoever has waited until its deadline."""
        if self.deadline < now:
            self.tell(TimeoutError())


class Waiting(Generic[Given, Found]):
    """Items that wait; `n` images of `size` bytes in all."""

    def __init__(self) -> None:
        self._items: deque[Item[Given, Found]] = deque()
        self.n = self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item[Given, Found]]:
        return iter(self._items)

    def add(self, item: Item[Given, Found]) -> None:
        """At the end."""
        self._items.append(item)
        self.n += item.n
        self.size += item.size

    def take(self, most: int) -> "Batch[Given, Found]":
        """The next items, of `most` images together; or the next one alone, which has more.

        Left out are items that nobody waits for any more; ClientDisconnect to those whose client has departed.
        """
        batch: Batch[Given, Found] = Batch([], 0, time.monotonic())
        while self._items and (not batch.items or batch.n + self._items[0].n <= most):
            item = self._items.popleft()
            self.n -= item.n
            self.size -= item.size
            if item.done.done():
                continue
            if item.departed():
                item.tell(ClientDisconnect())
            else:
                batch.items.append(item)
                batch.n += item.n
        return batch


@dataclass(slots=True, eq=False)
class Batch(Generic[Given, Found]):
    """Items whose turn has come, their images, and when it came."""

    items: list[Item[Given, Found]]
    n: int
    begun: float
