"""The end of the service: what came is answered and stored, nothing keeps it for long, and the bound holds."""

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import orjson
import psutil
import pytest

from service.drain import EXIT_GIVEN_UP
from tests.conftest import noise, png
from tests.service.conftest import ROOT, Server, free_port, scrape, total, until

IMAGE = png(noise(0))
SLOW = png(np.zeros((6000, 8000, 3), np.uint8))


class Client(threading.Thread):
    """Asks one request after another, on one connection while that is kept open or on a new one each, until refused."""

    def __init__(self, port: int, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self.port, self.keep = port, keep
        self.seen, self.ids = Counter[str](), list[str]()
        self.start()

    def run(self) -> None:
        while self._connection():
            pass

    def _connection(self) -> bool:
        """Ask on one connection until it closes; False where none is to be had."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            try:
                connection.connect()
            except OSError:
                self.seen["refused"] += 1
                return False
            for used in (False, *(self.keep,) * 1_000_000):
                try:
                    connection.request("POST", "/predict", IMAGE, {"Content-Type": "image/png"})
                    answer = connection.getresponse()
                    said = answer.read()
                except (OSError, http.client.HTTPException):
                    self.seen["lost from one in use" if used else "lost from a new one"] += 1
                    return True
                self.seen[str(answer.status)] += 1
                if answer.status == 200:
                    self.ids.append(orjson.loads(said)["id"])
                if answer.will_close:
                    self.seen["told to close"] += 1
                    return True
                if not self.keep:
                    return True
        return True


def stored(server: Server) -> set[str]:
    with closing(sqlite3.connect(server.state / "equipoise.db")) as database:
        return {str(UUID(bytes=bytes(row[0]))) for row in database.execute("SELECT id FROM answers")}


def opened(server: Server, sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.sendall(sent)
    return client


def end(server: Server, how: int = signal.SIGTERM) -> float:
    """Seconds that it took."""
    begun = time.monotonic()
    server.process.send_signal(how)
    assert server.process.wait(60) == 0, server.log
    return time.monotonic() - begun


def test_a_burst_is_answered_and_stored(start: Callable[..., Server]) -> None:
    server = start().wait()
    clients = [Client(server.port, keep=n % 2 == 0) for n in range(8)]
    until(lambda: all(len(client.ids) > 50 for client in clients))
    workers = server.worker_pids()
    took = end(server)
    for client in clients:
        client.join(10)
    seen = sum((client.seen for client in clients), Counter())
    kept = sum((client.seen for client in clients if client.keep), Counter())
    assert took < 10
    assert set(seen) <= {"200", "503", "refused", "told to close", "lost from a new one"}
    assert not any(map(psutil.pid_exists, workers))
    answered = [own for client in clients for own in client.ids]
    assert len(answered) == len(set(answered))
    assert set(answered) <= stored(server)
    assert kept["told to close"] >= 4
    assert "Traceback" not in server.log


def test_those_that_trickle_or_idle_do_not_keep_it(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_DRAIN="9").wait()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    idle = opened(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: b"alive" in idle.recv(4096))
    slow = opened(server, head)
    trickles = opened(server, head + b"Content-Length: 100\r\n\r\nx")
    many = head.replace(b"predict", b"predict/batch").replace(b"image/png", b"multipart/form-data; boundary=x")
    batch = opened(server, many + b"Content-Length: 100\r\n\r\n--x")
    time.sleep(0.3)
    took = end(server)
    assert took < 9
    for client in (trickles, batch):
        said = client.recv(4096)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in said.lower()
        assert b"urn:equipoise:problem:ending" in said
    for client in (idle, slow):
        assert client.recv(4096) == b""
    for client in (idle, slow, trickles, batch):
        client.close()
    assert "Traceback" not in server.log


def test_work_that_never_ends_ends_with_the_bound(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_DRAIN="2").wait()
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGSTOP)  # deaf, as native code that hangs is
    try:
        assert end(server) < 2 + 2 + 2
        until(lambda: not psutil.pid_exists(worker))
    finally:
        if psutil.pid_exists(worker):
            os.kill(worker, signal.SIGKILL)


def test_a_batch_that_outlives_the_bound_is_not_waited_for(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_DRAIN="3", EQUIPOISE_MAX_WAIT="1000", EQUIPOISE_THREADS="1").wait()
    said: list[httpx.Response] = []

    def post() -> None:
        said.append(httpx.post(f"{server.url}/predict/batch", files=[("images", SLOW)] * 40, timeout=60))

    asking = threading.Thread(target=post)
    asking.start()
    until(lambda: total(scrape(server.url), "equipoise_batch_size_count") > 2, 60)  # the rest is the third
    took = end(server)
    asking.join()
    assert took < 3 + 2 + 1
    assert said[0].status_code == 503
    assert said[0].json()["type"] == "urn:equipoise:problem:ending"


def test_a_worker_that_cannot_end_is_ended() -> None:
    program = """
import signal, threading, uvicorn
from service.drain import Drain

async def app(scope, receive, send):
    await receive()
    Drain(2).install()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    threading.Event().wait()  # as a database that hangs

config = uvicorn.Config(app, port=0)
uvicorn.Server(config).run()
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as said:
        while "Uvicorn running" not in said.readline():
            pass
        process.terminate()
        assert process.wait(10) == EXIT_GIVEN_UP
        assert "ended after EQUIPOISE_DRAIN=2 seconds with work under way" in said.read()


def test_plain_bentoml_serve_ends_in_the_same_way(tiny_model: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "bentoml", "serve", "service.service:Equipoise", "--port", str(port)]
    environment = os.environ | {"EQUIPOISE_STATE": str(tmp_path), "EQUIPOISE_MODEL": str(tiny_model),
                                "BENTOML_HOME": str(tmp_path), "EQUIPOISE_DRAIN": "9"}  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    until(lambda: "Completed startup hook" in log.read_text(), 60)
    client = Client(port, keep=True)
    until(lambda: len(client.ids) > 20)
    process.terminate()
    assert process.wait(30) == 0
    client.join(10)
    assert "lost from one in use" not in client.seen
    assert client.seen["told to close"] >= 1
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_asked_twice_it_ends_once(start: Callable[..., Server], how: int) -> None:
    server = start().wait()
    server.process.send_signal(how)
    time.sleep(0.05)
    assert end(server, how) < 5
    assert "Traceback" not in server.log
    assert server.log.count("Completed async cleanup hook: close") == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after", [0.2, 0.7, 1.5, 2.5])
def test_asked_while_it_starts_it_ends(start: Callable[..., Server], how: int, after: float) -> None:
    server = start()
    time.sleep(after)
    assert end(server, how) < 10
    assert "Traceback" not in server.log


def test_workers_whose_arbiter_is_killed_answer_what_came(start: Callable[..., Server]) -> None:
    server = start().wait()
    clients = [Client(server.port, keep=True) for _ in range(4)]
    until(lambda: all(len(client.ids) > 20 for client in clients))
    workers = server.worker_pids()
    server.process.kill()
    for client in clients:
        client.join(20)
    until(lambda: not any(map(psutil.pid_exists, workers)))
    seen = sum((client.seen for client in clients), Counter[str]())
    assert "lost from one in use" not in seen
    assert {own for client in clients for own in client.ids} <= stored(server)


def test_it_is_not_ready_while_it_ends(start: Callable[..., Server]) -> None:
    server, said = start(workers=1).wait(), list[httpx.Response]()
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/readyz").status_code == 200
        trickles = opened(server, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: (answer := client.get("/readyz")).status_code == 503 and not said.append(answer))
        (answer,) = said
        assert answer.json()["type"] == "urn:equipoise:problem:ending"
        assert answer.headers["Connection"] == "close"
    trickles.close()
    assert server.process.wait(60) == 0
