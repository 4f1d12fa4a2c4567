"""Memory that was freed, given back: a long pass over images must not hold more than a short one."""

import ctypes
import time


class Heap:
    """What this process has freed goes back to the system, at most once a second, where the C library is glibc.

    Without it, aligned blocks of changing sizes leave holes (glibc's bug 14581): a gigabyte after some thousand
    batches whose activations take fifty megabytes. Giving back takes milliseconds.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._given_back = time.monotonic()

    def give_back(self) -> None:
        """Now, if it is a second since the last time."""
        if self._trim is not None and time.monotonic() - self._given_back >= 1.0:
            self._trim(0)
            self._given_back = time.monotonic()
