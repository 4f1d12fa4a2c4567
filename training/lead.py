"""What the first of several processes does alone, and how the others learn what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from training.errors import DataError, ExportError

T = TypeVar("T")


@dataclass(frozen=True)
class Lead:
    """Whether this process is the first, and `broadcast`, which gives what the first one has to all.

    Every process has to call both methods in the same order: they wait for each other.
    """

    first: bool = True
    broadcast: Callable[[Any], Any] = lambda value: value

    def alone(self, stage: Callable[[], T]) -> T | None:
        """What `stage` comes to on the first process, None on the others; an error there is raised on all."""
        outcome, fault = None, None
        if self.first:
            try:
                outcome = stage()
            except (DataError, ExportError, OSError) as error:
                fault = error
        if (fault := self.broadcast(fault)) is not None:
            raise fault
        return outcome
