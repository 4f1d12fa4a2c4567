"""A client beside the load: asks for small things every so often, and notes how long each took."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from benchmarks.serving.contenders import LOAD_CORE, Running
from benchmarks.serving.one import Connection

EVERY_SECONDS = 0.2


@contextmanager
def probing(running: Running, paths: Sequence[str]) -> Iterator[dict[str, list[float]]]:
    """While the block runs; milliseconds by path, infinite where there was no 2xx."""
    found: dict[str, list[float]] = {path: [] for path in paths}
    over = threading.Event()
    thread = threading.Thread(target=_probe, args=(running, found, over))
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _probe(running: Running, found: dict[str, list[float]], over: threading.Event) -> None:
    os.sched_setaffinity(0, {int(LOAD_CORE)})  # of this thread
    address = urlsplit(running.url)
    host, port = str(address.hostname), int(address.port or 80)
    while not over.is_set():
        with suppress(OSError), Connection(host, port) as connection:  # another one after an error
            while not over.wait(EVERY_SECONDS):
                for path, times in found.items():
                    times.append(float("inf"))
                    begun = time.perf_counter()
                    if connection.asked(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()) < 300:
                        times[-1] = (time.perf_counter() - begun) * 1000
