"""Progress of long work on a terminal: one bar with time left and rate; nothing where nobody watches."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


def progress(*, hidden: bool = False) -> Progress:
    """Bars on standard error; their `note` field says what is measured. Without a terminal nothing is drawn."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console, disable=hidden or not console.is_terminal, transient=True,
    )  # fmt: skip


def tracked(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar for how many have come."""
    length = len(items) if total is None and isinstance(items, Sized) else total
    with progress() as bars:
        task = bars.add_task(description, total=length, note="")
        for item in items:
            yield item
            bars.advance(task)
