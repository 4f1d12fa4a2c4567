"""Following the database: each worker has a thread for it, and the one that holds the host's lock does it."""

import logging
import threading
import time

from service.database import StoreError
from service.host import HostPolicy
from service.policies import PolicyInForce
from service.store import CHANNEL, PolicyStore

log = logging.getLogger("equipoise")

POLL_SECONDS = 1.0
TURN_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0


class Follower:
    """Where its worker leads the host, it hears of commits, or looks once a second, and acknowledges."""

    def __init__(self, policies: PolicyInForce, store: PolicyStore) -> None:
        self._policies, self._database = policies, store.database
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
                if self._host.leads():
                    self._follow()
            except (StoreError, OSError) as error:
                if self._host.down_since is None:
                    log.error("the last known policy goes on: %s", error)
                self._host.note_database_down()
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
                self._host.note_database_up()
                wait(POLL_SECONDS)

    def _acknowledge(self, revision: int) -> None:
        said, when = self._acknowledged
        if revision != said or time.monotonic() > when + HEARTBEAT_SECONDS:
            self._acknowledged = (self._policies.acknowledge(), time.monotonic())
