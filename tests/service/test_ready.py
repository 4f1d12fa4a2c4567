"""/readyz tells the truth about the worker that answers it."""

import threading
from collections.abc import Callable

import httpx
import numpy as np

from tests.conftest import png
from tests.service.conftest import Server, until

SLOW = png(np.zeros((6000, 8000, 3), np.uint8))


def test_a_worker_whose_batch_takes_longer_than_anybody_waits_is_not_ready(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_TIMEOUT="1", EQUIPOISE_MAX_WAIT="1000", EQUIPOISE_THREADS="1").wait()

    def post() -> None:
        files = [("images", SLOW)] * 24
        httpx.post(f"{server.url}/predict/batch", files=files, timeout=120)

    asking = threading.Thread(target=post)
    asking.start()
    seen: list[httpx.Response] = []
    until(lambda: seen.append(httpx.get(f"{server.url}/readyz")) or seen[-1].status_code == 503, 60)
    assert seen[0].json()["status"] == "ready"
    assert seen[-1].json()["type"] == "urn:equipoise:problem:stuck"
    assert seen[-1].json()["detail"].startswith("a batch has been worked on for ")
    asking.join()
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200, 60)
