"""Two hosts on one PostgreSQL: how long a change takes to the other, and what they do while it is stopped."""

import random
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.service.conftest import Server
from tests.service.consistency.clients import document, in_processes, put
from tests.service.consistency.laws import IMAGES
from tests.service.consistency.one_host import tiny

MOST_LAG_MS, HEALED_SECONDS = 1000, 15


def on_two_hosts(folder: Path, database: Any, *, changes: int, outage: float) -> dict[str, Any]:
    """How long a change takes to the other host; then the database stops for a while under load, and all heals."""
    model, settings = tiny(folder / "models"), {"EQUIPOISE_DATABASE_URL": database.get_uri()}
    hosts = [Server(model, folder / name, workers=1, **settings) for name in ("here", "there")]
    try:
        here, there = (host.wait(120) for host in hosts)
        with httpx.Client(base_url=here.url, timeout=30) as one, httpx.Client(base_url=there.url, timeout=30) as other:
            lags = _lags(one, other, changes)
            assert np.quantile(lags, 0.99) < MOST_LAG_MS
            figures = {"p50": np.median(lags), "p99": np.quantile(lags, 0.99), "max": max(lags)}
            return {"changes": changes, "lag ms": figures} | _outage(one, other, (here.port, there.port), database,
                                                                     outage)  # fmt: skip
    finally:
        for host in hosts:
            host.stop()


def _lags(one: httpx.Client, other: httpx.Client, changes: int) -> list[float]:
    """From the answer to a change on one host until the other decides by it, in ms; at last `Prefer: wait`."""
    lags, rng = [], random.Random(0)
    for n in range(changes):
        writer, reader = (one, other) if n % 2 else (other, one)
        answer = put(writer, document(rng), _latest(writer, reader))
        returned = time.monotonic()
        assert answer.status_code == 200, answer.text
        while _decides_by(reader) < answer.json()["revision"]:
            assert time.monotonic() < returned + 10
        lags.append(1000 * (time.monotonic() - returned))
    waited = put(one, document(rng), one.get("/config").headers["etag"], prefer="wait=5")
    assert waited.status_code == 200, waited.text
    assert _decides_by(other) == waited.json()["revision"]
    return lags


def _outage(
    one: httpx.Client, other: httpx.Client, ports: tuple[int, int], database: Any, seconds: float
) -> dict[str, Any]:
    """Predictions go on on both hosts while the database is stopped, writes are refused, and soon after all is well."""
    reading = in_processes([(port, seed) for seed, port in enumerate(ports)], time.monotonic() + seconds + 4)
    time.sleep(1)
    database.stop()
    stopped = time.monotonic()
    refused = _refused(one, stopped + seconds)
    assert one.get("/readyz").json()["degraded"] != []
    database.ensure_postgres_running()
    back = time.monotonic()
    revision = _first_write(one, back + HEALED_SECONDS)
    healed = time.monotonic() - back
    while other.get("/config").json()["revision"] < revision:
        assert time.monotonic() < back + HEALED_SECONDS
    during = [answer for answer in reading() if stopped <= answer.begun < back]
    return {"outage s": seconds, "answers in it": len(during), "writes refused": refused, "healed s": healed}


def _refused(client: httpx.Client, until: float) -> int:
    """How many writes were, each as it should be."""
    refused = []
    while time.monotonic() < until:
        answer = put(client, document(random.Random(1)), client.get("/config").headers["etag"])
        refused.append((answer.status_code, answer.headers.get("retry-after")))
        time.sleep(0.3)
    assert set(refused) == {(503, "1")}
    return len(refused)


def _first_write(client: httpx.Client, until: float) -> int:
    """The revision of the first write that is taken again."""
    while True:
        answer = put(client, document(random.Random(2)), client.get("/config").headers["etag"])
        if answer.status_code == 200:
            return int(answer.json()["revision"])
        assert time.monotonic() < until, answer.text
        time.sleep(0.1)


def _decides_by(client: httpx.Client) -> int:
    return int(client.post("/predict", content=IMAGES[0]).json()["policy_revision"])


def _latest(*clients: httpx.Client) -> str:
    return max((client.get("/config").headers["etag"] for client in clients), key=lambda tag: int(tag.strip('"')))
