"""Progress of long work, of one process of several: on a terminal a bar with time left, elsewhere a line an epoch."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.processes import first_process

T = TypeVar("T")


def progress(console: Console | None = None) -> Progress:
    """Bars on standard error; their `note` field says what is measured. Without a terminal nothing is drawn."""
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=10), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"), console=console, disable=not (console.is_terminal and first_process()),
        transient=True,
    )  # fmt: skip


def report(line: str) -> None:
    """Print a line on standard error where no bar says it: what a log file keeps."""
    if first_process() and not Console(stderr=True).is_terminal:
        print(line, file=sys.stderr, flush=True)


def tracked(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar for how many have come."""
    length = len(items) if total is None and isinstance(items, Sized) else total
    with progress() as bars:
        task = bars.add_task(description, total=length, note="")
        for item in items:
            yield item
            bars.advance(task)
