"""Who changes the policy and who asks under it; each notes what it sent and what came."""

import http.client
import itertools
import json
import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.service.conftest import TOKEN
from tests.service.consistency.laws import IMAGES, Seen, Written

EVERY = 0.2


def document(rng: random.Random) -> dict[str, Any]:
    """A policy of any kind: thresholds, priors and rules that really move labels."""
    share = rng.uniform(0.1, 0.8)
    priors = {"red": share, "green": (1 - share) / 3, "blue": 1 - share - (1 - share) / 3}
    rule = rng.choice([
        {"kind": "argmax"}, {"kind": "priors"},
        {"kind": "thresholds", "thresholds": {"red": rng.uniform(0.05, 0.9), "blue": rng.uniform(0.05, 0.9)}},
        {"kind": "recall", "targets": {"blue": rng.choice([0.5, 0.6])}},
        {"kind": "cost", "costs": {"red": {"green": rng.uniform(0, 9)}}},
    ])  # fmt: skip
    return {"deployment_priors": priors, "rule": rule, "abstain_below": rng.choice([0.0, 0.4, 0.6])}


def read(port: int, until: float, seed: int, seen: Any) -> None:
    """A reader: its answers, in one list at the end."""
    rng, kept = random.Random(seed), []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < until:
        image, begun = rng.randrange(len(IMAGES)), time.monotonic()
        try:
            connection.request("POST", "/predict", IMAGES[image], {"Content-Type": "image/png"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            kept.append(f"lost: {error!r}")
            connection.close()
            time.sleep(0.05)
            continue
        if response.status == 200:
            kept.append(Seen(image, begun, time.monotonic(), json.loads(body)))
        else:
            kept.append(f"{response.status}: {body[:200]!r}")
    seen.put(kept)


def in_processes(readers: list[tuple[int, int]], until: float) -> Callable[[], list[Seen]]:
    """Readers, each of a port and a seed, started; what is returned waits for their answers, of which none is lost."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    processes = [context.Process(target=read, args=(port, until, seed, queue)) for port, seed in readers]
    for process in processes:
        process.start()

    def seen() -> list[Seen]:
        kept = [item for _ in processes for item in queue.get(timeout=max(0.0, until - time.monotonic()) + 60)]
        for process in processes:
            process.join()
        lost = [item for item in kept if not isinstance(item, Seen)]
        assert lost == [], lost[:3]
        return kept

    return seen


def put(client: httpx.Client, own: dict[str, Any], etag: str, *, prefer: str = "", **params: str) -> httpx.Response:
    """A change of what `etag` names, which the guard does not stop."""
    headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": etag} | ({"Prefer": prefer} if prefer else {})
    return client.put("/config", json=own, headers=headers, params=params | {"force": "true"})


class Writers:
    """Threads that change the policy every 200 ms, and what they were answered."""

    def __init__(self, port: int, until: float, n: int) -> None:
        self.written, self.refused, self._unexpected = list[Written](), list[int](), list[str]()
        self._threads = [threading.Thread(target=self._write, args=(port, until, seed)) for seed in range(n)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for all; AssertionError where one was answered what it must not be, or failed."""
        for thread in self._threads:
            thread.join()
        assert self._unexpected == [], self._unexpected[:3]

    def _write(self, port: int, until: float, seed: int) -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                self._write_with(client, until, seed)
        except Exception as error:  # else it would end this thread alone
            self._unexpected.append(f"writer {seed}: {error!r}")

    def _write_with(self, client: httpx.Client, until: float, seed: int) -> None:
        """What it read last, changed by If-Match; after a 412 it goes on from the problem's tag."""
        rng, turn = random.Random(seed), itertools.count()
        etag = client.get("/config").headers["etag"]
        while (begun := time.monotonic()) < until:
            own, reason = document(rng), f"writer {seed}, turn {next(turn)}"
            with suppress(httpx.TransportError):
                answer = put(client, own, etag, reason=reason)
                if answer.status_code == 200:
                    self.written.append(Written(answer.json()["revision"], begun, time.monotonic(), reason, own))
                else:
                    self.refused.append(answer.status_code)
                    if answer.status_code not in (412, 503):
                        self._unexpected.append(answer.text)
                etag = answer.headers.get("etag", etag)
            time.sleep(max(0.0, begun + EVERY - time.monotonic()))
