"""BentoML's arbiter as this service wants it: a dead worker is replaced within a second, and a stop is never lost."""

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from bentoml._internal.utils import circus as bentoml_circus
from circus.exc import ConflictError

CHECK_SECONDS = 0.5  # BentoML looks after its workers every 10
KILL_SECONDS = 2.0  # beyond the drain of a worker, which ends itself
AGAIN_SECONDS = 0.05


def attend(drain: float) -> None:
    """Have the arbiter that BentoML makes next look after its workers, and end one that outlives its drain.

    BentoML has no setting for either, and in a container replaces no worker at all. This is the one place that touches
    what it does not document; tests/service/test_workers.py fails where a new version no longer asks here.
    """
    make = bentoml_circus.create_standalone_arbiter

    def create(watchers: list[Any], **options: Any) -> Any:
        for watcher in watchers:
            watcher.respawn = True
            watcher.graceful_timeout = drain + KILL_SECONDS
            watcher.reap_process = partial(_reap, watcher, watcher.reap_process)
        arbiter = make(watchers, **options | {"check_delay": CHECK_SECONDS})
        stop = arbiter.stop

        def stop_when_free() -> None:
            try:
                stop()
            except ConflictError:  # it looks after its workers just now, and would forget that it was asked
                arbiter.loop.call_later(AGAIN_SECONDS, stop_when_free)
            else:
                arbiter.sockets.close_all()  # else connections would wait in a queue that no worker accepts from

        arbiter.stop = stop_when_free  # type: ignore[method-assign]  # circus has no hook before a stop
        return arbiter

    bentoml_circus.create_standalone_arbiter = create


def _reap(watcher: Any, reap: Callable[[int, int | None], None], pid: int, status: int | None = None) -> None:
    """As circus does it, and said: a worker that was killed for its memory leaves no word of its own."""
    if pid in watcher.processes and not watcher.is_stopping():
        how = "" if status is None else f" ({_how(status)})"
        # By a child of BentoML's logger, made late: it disables all that were there when it set up its own.
        logging.getLogger("bentoml.arbiter").error("worker %d died%s and is replaced", pid, how)
    reap(pid, status)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
