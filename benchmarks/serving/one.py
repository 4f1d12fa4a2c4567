"""One connection, one request at a time, each timed as it is: `python -m benchmarks.serving.one` reads a plan.

wrk corrects its percentiles for coordinated omission, which at one connection makes two stalls in 4,000 requests a p99.
"""

import json
import socket
import time
from dataclasses import asdict

import numpy as np

from benchmarks.serving.load import Measured
from benchmarks.serving.pinned import given


class Connection:
    """Kept alive; blocks; closed when the block is left."""

    def __init__(self, host: str, port: int, timeout: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def asked(self, request: bytes) -> int:
        """The status of the answer, all of which has come; ConnectionError where the server hangs up."""
        self._socket.sendall(request)
        came = self._more()
        while (end := came.find(b"\r\n\r\n")) < 0:
            came += self._more()
        length = _content_length(came[:end])
        while len(came) < end + 4 + length:
            came += self._more()
        return int(came[9:12])

    def _more(self) -> bytes:
        came = self._socket.recv(65536)
        if not came:
            raise ConnectionError("the server hung up")
        return came


def _content_length(head: bytes) -> int:
    if head[9:12] == b"204":
        return 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"expected an answer with a content-length, got {head!r}")


def timed(host: str, port: int, request: bytes, seconds: float) -> Measured:
    """Ask as fast as answers come."""
    times, failed = [], 0
    begun = time.perf_counter()
    with Connection(host, port) as connection:
        while (sent := time.perf_counter()) < begun + seconds:
            failed += not 200 <= connection.asked(request) < 300
            times.append(time.perf_counter() - sent)
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    rate = (len(times) - failed) / (time.perf_counter() - begun)
    return Measured(rate, float(p50), float(p99), max(times) * 1000, failed, len(times))


if __name__ == "__main__":
    print(json.dumps(asdict(timed(**given()))))
