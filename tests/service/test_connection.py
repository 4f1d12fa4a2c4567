"""Clients that leave while their images wait: a real server's flag is read, and nothing is worked out for nobody."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.connection import departed
from tests.conftest import noise, png
from tests.service.conftest import Server, scrape, total, until

GOOD = png(noise(0))
SLOW = png(np.zeros((6000, 8000, 3), np.uint8))
WAITING, STAY = 50, 5


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_uvicorn_says_who_has_left(http: Any) -> None:
    """The flag is uvicorn's own and undocumented: a version without it fails here."""
    asks: list[Callable[[], bool]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asks.append(departed(receive))
            await asyncio.sleep(3600)

    async def run() -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, http=http, lifespan="off", log_config=None,
                                                   timeout_graceful_shutdown=0))  # fmt: skip
            serving = asyncio.ensure_future(server._serve([listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            leaves, stays = [await asyncio.open_connection(*listening.getsockname()) for _ in range(2)]
            for _, writer in (leaves, stays):
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
                await writer.drain()
                n = len(asks)
                while len(asks) == n:
                    await asyncio.sleep(0.01)
            assert [ask() for ask in asks] == [False, False]
            leaves[1].close()
            while not asks[0]():
                await asyncio.sleep(0.01)
            assert [ask() for ask in asks] == [True, False]
            stays[1].close()
            server.should_exit = True
            await serving

    asyncio.run(asyncio.wait_for(run(), 30))


def test_of_another_server_nobody_leaves() -> None:
    async def receive() -> Any: ...

    assert departed(receive)() is False


def test_only_who_stayed_is_answered_and_counted(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_MAX_WAIT="1000", EQUIPOISE_THREADS="1").wait()

    def post(image: bytes) -> None:
        assert httpx.post(f"{server.url}/predict", content=image, timeout=60).status_code == 200

    slow = [threading.Thread(target=post, args=(SLOW,)) for _ in range(2)]  # one a lane
    for thread in slow:
        thread.start()
    until(lambda: total(scrape(server.url), "equipoise_batch_size_count") == 2)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GOOD)
    waiting = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(WAITING)]
    for client in waiting:
        client.sendall(head + GOOD)
    for client in waiting[STAY:]:
        client.close()
    for client in waiting[:STAY]:
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        client.close()
    for thread in slow:
        thread.join()
    until(lambda: total(scrape(server.url), "equipoise_requests_total", status="499") == WAITING - STAY)
    assert total(scrape(server.url), "equipoise_raw_predictions_total") == len(slow) + STAY
    assert total(scrape(server.url), "equipoise_batch_size_sum") == len(slow) + STAY
    assert "Traceback" not in server.log
