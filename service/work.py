"""What a batcher has done, and whom it tells of it."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

Given = TypeVar("Given", contravariant=True)
Found = TypeVar("Found")


class Counts(Protocol):
    """What is told of batches, on the event loop."""

    def batch(self, size: int, waiting: int) -> None:
        """A batch of so many images; so many more waited when it began."""

    def turned_away(self, n: int) -> None:
        """So many images were refused."""


class Postponed(Exception):
    """Found of an item that would hold up the event loop: it is to be worked on beside it."""


class Worked(NamedTuple, Generic[Found]):
    """A result or an exception for each item of a batch, in order, and what is to be done when they have been told."""

    found: Sequence[Found | Exception]
    afterwards: Callable[[], None] = lambda: None


class Work(Protocol[Given, Found]):
    """What a batcher has done."""

    def __call__(self, batch: Sequence[Given], *, light: bool) -> Worked[Found]:
        """Work off a batch; where it is to be `light`, Postponed is found of what would take long."""
