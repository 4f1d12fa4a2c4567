"""Rules of operations: errors, policies that lag behind, and answers that were lost."""

from deploy.promql import REPLICAS, Group, Recording, greatest, increase
from deploy.windows import HOUR, SHORT, Timing

SKEW = "model:equipoise_policy_revision:skew"
ERRORS, REQUESTS = "job:equipoise_requests:error_ratio5m", "job:equipoise_requests:increase5m"
DROPPED = "model:equipoise_answers_dropped:increase1h"
REFUSED = "reason:equipoise_auth_failures:increase1h"


def groups(timing: Timing) -> list[Group]:
    """One group, evaluated at the fastest interval."""
    short, hour = timing.range(SHORT), timing.range(HOUR)
    requests = f"sum without ({REPLICAS}, route, status) (increase(equipoise_requests_total[{short}]))"
    failed = requests.replace("_total[", '_total{status=~"5.."}[')
    newest = greatest("equipoise_worker_policy_revision", '{bound="newest"}', ", bound")
    oldest = greatest("equipoise_worker_policy_revision", '{bound="oldest"}', ", bound").replace("max", "min", 1)
    rules = [
        Recording(SKEW, f"{newest}\n- {oldest}"),
        Recording(REQUESTS, requests),
        Recording(ERRORS, f"({failed} or 0 * {REQUESTS})\n/ ({REQUESTS} > 0)"),
        Recording(DROPPED, increase("equipoise_answers_dropped_total", hour)),
        Recording(REFUSED, increase("equipoise_auth_failures_total", hour)),
    ]
    return [Group("equipoise-operations", timing.interval(HOUR), rules)]
