"""The one thread of a host that follows the database: what other hosts change is in force here within a second."""

import logging
import threading
import time

from service.database import Database
from service.host import HostPolicy
from service.policies import PolicyInForce
from service.store import CHANNEL, PolicyStore, StoreError

log = logging.getLogger("equipoise")

POLL_SECONDS = 1.0
TURN_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0


class Follower:
    """Every worker has one, and one of them leads: it hears of commits, or looks once a second, and acknowledges."""

    def __init__(self, policies: PolicyInForce, store: PolicyStore, database: Database) -> None:
        self._policies, self._store, self._database = policies, store, database
        self._host: HostPolicy = policies.host
        self._unsettled = self._host.down_since is not None
        self._acknowledged = (0, 0.0)  # the revision, and when
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._closed.set()
        self._thread.join(POLL_SECONDS + TURN_SECONDS)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if self._host.lead():
                    self._follow()
            except (StoreError, OSError) as error:
                if self._host.down_since is None:
                    log.error("the last known policy goes on: %s", error)
                self._host.store_answers(False)
            except Exception:
                log.exception("the follower starts again")
            self._closed.wait(TURN_SECONDS)

    def _follow(self) -> None:
        with self._database.listening(CHANNEL, idle=self._closed.wait) as wait:
            while not self._closed.is_set():
                if self._unsettled:
                    self._policies.settle()
                    self._unsettled = False
                self._acknowledge(self._policies.catch_up())
                if self._host.down_since is not None:
                    log.warning("the database answers again")
                self._host.store_answers(True)
                wait(POLL_SECONDS)

    def _acknowledge(self, revision: int) -> None:
        said, when = self._acknowledged
        if self._database.notifies and (revision != said or time.monotonic() > when + HEARTBEAT_SECONDS):
            self._store.acknowledge(self._host.id, revision)
            self._acknowledged = (revision, time.monotonic())
