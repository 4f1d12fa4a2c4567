"""BentoML's arbiter as this service wants it: a dead worker is replaced within a second, and a stop is never lost."""

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
        arbiter = make(watchers, **options | {"check_delay": CHECK_SECONDS})
        stop = arbiter.stop

        def stop_when_free() -> None:
            try:
                stop()
            except ConflictError:  # it looks after its workers just now, and would forget that it was asked
                arbiter.loop.call_later(AGAIN_SECONDS, stop_when_free)
            else:
                arbiter.sockets.close_all()  # else connections would wait in a queue that no worker accepts from

        arbiter.stop = stop_when_free  # type: ignore[method-assign]
        return arbiter

    bentoml_circus.create_standalone_arbiter = create
