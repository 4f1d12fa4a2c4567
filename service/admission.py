"""Who is admitted where more comes than can be done: a burst waits its turn, a queue that stands is kept short."""

import time
from collections.abc import Callable

STANDS_AFTER, STANDING = 0.25, 0.1  # of the patience: when a queue is no burst any more, and how long it may be then


class Admission:
    """Says whether who would wait behind a queue of so many seconds is admitted.

    A burst may wait for `patience`. Where the queue has been longer than a tenth of it for a quarter of it, more comes
    than can be done, and waiting helps nobody: until nobody was turned away for `patience`, only a queue of that tenth
    is admitted. As much is done, and who is admitted is answered soon (CoDel, Nichols and Jacobson 2012, doi
    10.1145/2208917.2209336). What is worked on already is no queue, but is waited for.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._short = STANDING * patience
        self._long_since: float | None = None  # when the wait was first seen to be long, and never short since
        self._stands = False
        self._refused_at = 0.0

    def is_short(self, queue: float) -> bool:
        """Whether a queue of so many seconds may stand."""
        return queue <= self._short

    def admits(self, queue: float, soonest: float = 0.0) -> bool:
        """Whether who came now is to wait: behind a queue of so many seconds, that is begun upon in `soonest`.

        The answer is noted, as what becomes of whoever asks.
        """
        now = self._clock()
        if self._stands and now - self._refused_at > self._patience:
            self._stands, self._long_since = False, None
        if self.is_short(queue):
            self._long_since = None
        elif self._long_since is None:
            self._long_since = now
        elif now - self._long_since > STANDS_AFTER * self._patience:
            self._stands = True
        admitted = queue + soonest <= self._patience and (self._long_since is None or not self._stands)
        if not admitted:
            self._refused_at = now
        return admitted
