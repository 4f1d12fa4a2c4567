"""Who is admitted where more comes than can be done: a burst waits its turn, a queue that stands is kept short."""

import time
from collections.abc import Callable

STANDING = 0.05  # of the patience: how long a queue may be while more comes than can be done


class Admission:
    """Says whether who would wait behind a queue of so many seconds is admitted.

    Nobody waits for longer than `patience`. From when somebody would have had to, until nobody was turned away for as
    long, more comes than can be done, and waiting helps nobody: the queue is kept to a twentieth of it. As much is
    done, and who is admitted is answered soon (after CoDel, Nichols and Jacobson 2012, doi 10.1145/2208917.2209336).
    What is worked on already is no queue, but is waited for.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._refused_at = -patience * 2

    def is_short(self, queue: float) -> bool:
        """Whether a queue of so many seconds may stand."""
        return queue <= STANDING * self._patience

    def admits(self, queue: float, soonest: float = 0.0) -> bool:
        """Whether who came now is to wait: behind a queue of so many seconds, that is begun upon in `soonest`.

        The answer is noted, as what becomes of whoever asks.
        """
        now = self._clock()
        overloaded = now - self._refused_at <= self._patience
        admitted = queue + soonest <= self._patience and (not overloaded or self.is_short(queue))
        if not admitted:
            self._refused_at = now
        return admitted
