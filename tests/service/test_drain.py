"""The end of the service: what came is answered and stored, nothing keeps it for long, and the bound holds."""

import http.client
import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from uuid import UUID

import httpx
import orjson
import psutil
import pytest

from tests.conftest import noise, png
from tests.service.conftest import Server, until

IMAGE = png(noise(0))


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
    print(took, seen, kept)
    assert took < 10
    assert set(seen) <= {"200", "503", "refused", "told to close", "lost from a new one"}
    assert not any(map(psutil.pid_exists, workers))
    answered = [own for client in clients for own in client.ids]
    assert len(answered) == len(set(answered))
    assert set(answered) <= stored(server)
    assert kept["told to close"] >= 4
    assert "Traceback" not in server.log
