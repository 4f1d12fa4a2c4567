"""Following the database: each worker has a thread for it, and the one that holds the host's lock does it."""

import logging
import threading
import time

from service.database import StoreError
from service.policies import PolicyInForce
from service.store import CHANNEL, PolicyStore

log = logging.getLogger("equipoise")

POLL_SECONDS = 1.0
TURN_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0


class Follower:
    """Hears of commits, or looks once a second, puts in force what is new, and acknowledges it."""

    def __init__(self, policies: PolicyInForce, store: PolicyStore) -> None:
        self._policies, self._host, self._database = policies, policies.host, store.database
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
                self._policies.catch_up()
                self._host.note_database_heard()
                self._acknowledge()
                wait(POLL_SECONDS)

    def _acknowledge(self) -> None:
        """Write what this host decides by, where others may ask, or where it is to be seen that writing works again."""
        down, (said, when) = self._host.down_since is not None, self._acknowledged
        revision = self._policies.current().revision
        due = revision != said or time.monotonic() > when + HEARTBEAT_SECONDS
        if down or (due and self._database.notifies):
            self._policies.acknowledge()
            self._acknowledged = (revision, time.monotonic())
            self._host.note_database_up()
            if down:
                log.warning("the database answers again")
