"""What the serving benchmarks measure with: the open-loop generator, the readers of what was seen, the search."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import uvloop

from benchmarks.serving import forms, refusing
from benchmarks.serving.__main__ import table
from benchmarks.serving.load import Measured, measured
from benchmarks.serving.one import timed
from benchmarks.serving.open_loop import Seen, driven, seen
from benchmarks.serving.overload import of_a_refusal
from benchmarks.serving.rate import Bracket
from benchmarks.serving.tables import spread
from service import predict

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
STALL_SECONDS = 0.2


class Answering(socketserver.ThreadingTCPServer):
    """Answers each request with the same bytes, of which none hang up; the 400th makes all wait for a while."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, answer: bytes, *, stalls: bool = False) -> None:
        self.answer, self.stalls, self.n, self.lock = answer, stalls, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.BaseRequestHandler):
    server: Answering

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while self.request.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST:
            with self.server.lock:
                self.server.n += 1
                if self.server.stalls and self.server.n == 400:
                    time.sleep(STALL_SECONDS)
            self.request.sendall(self.server.answer)
            if b"Content-Length: 2" not in self.server.answer:
                return


@contextmanager
def answering(answer: bytes, *, stalls: bool = False) -> Iterator[int]:
    """Its port."""
    with Answering(answer, stalls=stalls) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def drive(port: int, *, rate: float, seconds: float) -> Seen:
    return uvloop.run(driven("127.0.0.1", port, REQUEST, rate, seconds))


def test_a_stall_is_paid_by_all_that_was_due() -> None:
    """At a rate r, a stall of S seconds makes r (S − t) requests wait for more than t; a closed loop would see one."""
    with answering(OK, stalls=True) as port:
        found = drive(port, rate=200, seconds=2)

    assert (found.offered, found.good, found.refused, found.failed) == (400, 400, 0, 0)
    assert found.longest >= 1000 * STALL_SECONDS
    assert found.p99 >= 1000 * (STALL_SECONDS - 5 / 200)  # the fifth longest of 400
    assert found.p99_of_all == found.p99


def test_refusals_that_close_their_connection() -> None:
    with answering(BUSY) as port:
        found = drive(port, rate=100, seconds=0.5)

    assert (found.offered, found.good, found.refused, found.failed) == (50, 0, 50, 0)
    assert found.connections >= 50
    assert found.p99_of_all == float("inf")


def test_a_server_that_hangs_up_without_an_answer() -> None:
    with answering(b"") as port:
        found = drive(port, rate=100, seconds=0.5)

    assert (found.good, found.refused, found.failed) == (0, 0, 50)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = drive(probe.getsockname()[1], rate=100, seconds=0.5)

    assert (found.good, found.refused, found.failed) == (0, 0, 50)


def test_one_connection() -> None:
    with answering(OK) as port:
        found = timed("127.0.0.1", port, REQUEST, 0.2)

    assert found.failed == 0
    assert found.answered > 0
    assert 0 < found.p50 <= found.p99 <= found.longest


@pytest.mark.parametrize(("lost", "p99_of_all"), [(0, 990.0), (10, 1000.0), (11, float("inf"))])
def test_what_was_not_answered_counts_as_endless(lost: int, p99_of_all: float) -> None:
    latency, status = np.arange(1.0, 1001.0 + lost), np.full(1000 + lost, 200)
    latency[1000:], status[1000:] = np.inf, 0

    found = seen(latency, status, np.zeros(len(status)), interval=1_000_000, opened=1)

    assert (found.good, found.failed) == (1000, lost)
    assert (found.p50, found.p99, found.longest) == (500.0, 990.0, 1000.0)
    assert found.p99_of_all == p99_of_all
    assert found.goodput == pytest.approx(1e6 / (1000 + lost))


def test_what_wrk_prints() -> None:
    said = """Running 5s test @ http://127.0.0.1:3000/predict
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.01ms    1.20ms  1.05s    91.00%
    Req/Sec     4.01k   100.00     4.20k    70.00%
  Latency Distribution
     50%  870.00us
     75%    4.20ms
     90%    5.00ms
     99%    7.70ms
  20000 requests in 5.00s, 9.00MB read
  Socket errors: connect 0, read 1, write 2, timeout 3
  Non-2xx or 3xx responses: 100
Requests/sec:   4000.00
Transfer/sec:      1.80MB
"""
    assert measured(said) == Measured(19_900 / 5, 0.87, 7.7, 1050.0, 106, 20_000)


@pytest.mark.parametrize(("most", "width"), [(0.0, 250.0), (200.0, 250.0), (250.0, 850.0), (700.0, 850.0)])
def test_the_search_closes_in(most: float, width: float) -> None:
    bracket, passed = Bracket(250.0, 1100.0), []
    for _ in range(7):
        tried = bracket.next
        bracket.tried(tried <= most)
        passed += [tried] if tried <= most else []

    assert bracket.low <= most <= bracket.high
    assert bracket.high - bracket.low == pytest.approx(width / 2**6)
    assert max(passed, default=0.0) == bracket.low


def test_a_refusal_costs_what_a_load_uses_more_than_the_probes() -> None:
    load = Seen(100.0, 9.0, 900, 0, 450, 450, 0.0, 0.0, 0.0, 0.0, 0.0, 1)

    assert of_a_refusal(5.0, 0.3, load) == pytest.approx((5.0 - 0.3 * 10) / 500), "of ten seconds with the warming up"


def test_the_bare_refusal_is_as_long_as_ours() -> None:
    ours = dict(predict.REFUSAL[0]["headers"])

    assert (dict(refusing.HEADERS), refusing.REFUSAL) == (ours, predict.REFUSAL[1]["body"])


def test_ratios_are_of_the_same_round() -> None:
    """Rounds twice as fast for all leave the ratios as they are."""
    bare = [Measured(100.0 * speed, 1.0, 2.0, 9.0, 0, 500) for speed in (1, 2, 4)]
    other = [Measured(share * 100.0 * speed, 1.5, 3.0, 12.0, 0, 500)
             for share, speed in ((0.4, 1), (0.5, 2), (0.6, 4))]  # fmt: skip

    row = table("case", {"bare ASGI": bare, "other": other}).splitlines()[-1]

    assert row == ("| other | 0.50 (0.40, 0.60) | 100 | 1.50 | 3.00 | 12 | 2.0 (2.0, 2.0) | 0.50 (0.50, 0.50) "
                   "| 3 (3, 3) | 0 |")  # fmt: skip


def test_median_and_ends() -> None:
    assert spread([3000.0, 1.0, 20.0], 0) == "20 (1, 3,000)"


def test_a_request_on_the_wire() -> None:
    request = forms.raw(b"image")

    head, _, body = request.encoded("127.0.0.1:80").partition(b"\r\n\r\n")

    assert body == b"image"
    assert head.split(b"\r\n") == [b"POST /predict HTTP/1.1", b"Host: 127.0.0.1:80", b"Content-Type: image/png",
                                   b"Content-Length: 5"]  # fmt: skip


def test_a_binary_tensor() -> None:
    request = forms.bytes_tensor(b"image")

    length = int(request.headers["Inference-Header-Content-Length"])
    [tensor] = json.loads(request.body[:length])["inputs"]

    assert request.body[length:] == b"\x05\0\0\0image"
    assert tensor["parameters"] == {"binary_data_size": 9}


def test_probabilities_in_each_form_of_answer() -> None:
    said = '{"label":"1","probabilities":{"0":0.25,"1":0.75}}'
    tensor = json.dumps({"outputs": [{"name": "answer", "data": [said]}]}).encode()
    binary = b'{"outputs":[{"parameters":{"binary_data_size":54}}]}\x32\0\0\0' + said.encode()

    for read, answer in (
        (forms.of_object, said.encode()), (forms.of_string_tensor, tensor), (forms.of_binary_tensor, binary),
    ):  # fmt: skip
        assert read(answer) == {"0": 0.25, "1": 0.75}
