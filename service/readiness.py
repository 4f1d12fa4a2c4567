"""Whether a worker would answer: it has the model and a policy, and has answered once, or it would not exist."""

from service.problems import RETRY_AFTER, Problem
from service.worker import Worker


def require_ready(worker: Worker) -> None:
    """Problem 503 for one that is about to end, or works on one batch for longer than anybody waits."""
    if worker.drain.under_way:
        raise Problem(503, "ending", "the service was asked to end", headers=RETRY_AFTER)
    if (seconds := worker.batcher.busy_for) > worker.settings.timeout:
        raise Problem(503, "stuck", f"a batch has been worked on for {seconds:.0f} seconds", headers=RETRY_AFTER)
