"""Kills: one writer after another changes the policy while a worker, the arbiter and PostgreSQL are killed (-9)."""

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg

from decision import load_bundle
from tests.service.conftest import Server
from tests.service.consistency.clients import document, put
from tests.service.consistency.laws import Written, check_writes, history
from tests.service.consistency.one_host import tiny


class Killer:
    """Kills one after another, each when it is its turn, and sees to it that all come back."""

    def __init__(self, model: Path, state: Path, database: Any, turns: dict[int, str]) -> None:
        self._model, self._state, self._database, self._turns = model, state, database, turns
        self._revivals = list[threading.Thread]()
        self._back = list[bool]()
        self.killed = list[str]()
        self.server = self._started()

    def at(self, turn: int) -> None:
        """Kill what is to be killed at this turn, once."""
        match victim := self._turns.pop(turn, None):
            case None:
                return
            case "worker":
                os.kill(min(self.server.worker_pids()), signal.SIGKILL)
            case "database":
                self._revivals.append(threading.Thread(target=self._kill_database))
                self._revivals[-1].start()
            case "arbiter":
                self.server.process.kill()
                self.server.process.wait()
                self.server = self._started()
        self.killed.append(victim)

    def join(self) -> None:
        """Wait for what is still to come back; AssertionError where the database did not."""
        for thread in self._revivals:
            thread.join()
        assert self._back == [True] * len(self._revivals), "the database came back each time"

    def _started(self) -> Server:
        settings = {"EQUIPOISE_DATABASE_URL": self._database.get_uri()}
        return Server(self._model, self._state, workers=2, **settings).wait(120)

    def _kill_database(self) -> None:
        time.sleep(0.02)  # while a change is under way
        os.kill(self._database.get_pid(), signal.SIGKILL)
        time.sleep(1.5)
        for _ in range(100):  # a killed one is still there for a moment
            with suppress(Exception):
                self._database.ensure_postgres_running()
                with psycopg.connect(self._database.get_uri()):
                    self._back.append(True)
                    return
            time.sleep(0.2)


def through_kills(folder: Path, database: Any, *, changes: int) -> dict[str, Any]:
    """Every change that was answered 200 is there afterwards, whatever was killed meanwhile, and none is half there."""
    model, victims = tiny(folder / "models"), ("worker", "database", "arbiter", "database")
    turns = {n * changes // 5: victim for n, victim in enumerate(victims, start=1)}
    killer = Killer(model, folder / "state", database, turns)
    rng, written, lost = random.Random(0), list[Written](), 0
    try:
        while len(written) < changes:
            killer.at(len(written))
            if (found := _changed(killer.server.url, document(rng), f"turn {len(written)}")) is None:
                lost += 1
                time.sleep(0.05)
            else:
                written.append(found)
        killer.join()
        stored, bundle = history(killer.server.url), load_bundle(model)
        check_writes(written, stored)
        for entry in stored:  # whole: it compiles to the thresholds that it was stored with
            assert bundle.policy(entry["policy"]).thresholds == entry["thresholds"]
        return {"answered 200": len(written), "not answered": lost, "stored": len(stored), "killed": killer.killed}
    finally:
        killer.server.stop()


def _changed(url: str, own: dict[str, Any], reason: str) -> Written | None:
    """A change that was answered 200; None where it was not answered, or somebody else's is in force, or 503."""
    begun = time.monotonic()
    with suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=30) as client:
        answer = put(client, own, client.get("/config").headers["etag"], reason=reason)
        if answer.status_code == 200:
            return Written(answer.json()["revision"], begun, time.monotonic(), reason, own)
        assert answer.status_code in (412, 503), answer.text
    return None
