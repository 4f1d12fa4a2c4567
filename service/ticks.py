"""What a worker does by the clock: says which policy it decides by, and keeps its host's sums once a minute."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from service.database import StoreError
from service.metrics import Metrics, folder
from service.policies import PolicyInForce
from service.snapshots import SnapshotStore
from service.tally import Layout, added_up

log = logging.getLogger("equipoise")

TICK_SECONDS = 1.0
SNAPSHOT_SECONDS = 60.0
THIN_SECONDS = 3600.0


class Snapshots:
    """Keeps the sums of this host's workers in the store."""

    def __init__(self, store: SnapshotStore, host: str, layout: Layout) -> None:
        self._store, self._host, self._layout, self._folder = store, host, layout, folder()
        self._start = _start(self._folder)

    def keep(self) -> None:
        """What all workers of this host counted until now. Raises StoreError."""
        self._store.append(self._host, self._start, _now(), added_up(self._folder, self._layout))

    def thin(self) -> None:
        """Delete what is too old. Raises StoreError."""
        self._store.thin(_now())


class Ticks:
    """A thread for it; of a host's workers the one for which `leads()` is true keeps the sums."""

    def __init__(
        self, metrics: Metrics, policies: PolicyInForce, snapshots: Snapshots, leads: Callable[[], bool]
    ) -> None:
        self._metrics, self._policies, self._snapshots, self._leads = metrics, policies, snapshots, leads
        self._due = self._thin_due = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Each worker that ends keeps the sums: the last one keeps all."""
        self._closed.set()
        self._thread.join(TICK_SECONDS)
        self._metrics.settle()
        self._keep()

    def _run(self) -> None:
        while True:
            try:
                self._metrics.decides_by(self._policies.current().revision)
                self._metrics.settle()
                if time.monotonic() >= self._due and self._leads():
                    self._due = time.monotonic() + SNAPSHOT_SECONDS
                    self._keep()
            except Exception:
                log.exception("the clock goes on")
            if self._closed.wait(TICK_SECONDS):
                return

    def _keep(self) -> None:
        try:
            self._snapshots.keep()
            if time.monotonic() >= self._thin_due:
                self._thin_due = time.monotonic() + THIN_SECONDS
                self._snapshots.thin()
        except StoreError as error:
            log.warning("the counts of this minute are kept with those of the next: %s", error)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _start(folder: Path) -> str:
    """What all workers of one start of the service call it."""
    path, own = folder / "start", folder / f"start.{os.getpid()}"
    own.write_text(uuid.uuid4().hex)
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    finally:
        own.unlink()
    return path.read_text()
