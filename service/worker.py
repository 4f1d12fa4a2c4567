"""What routes need of the worker that serves a request, and the JSON that they answer."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from decision import Bundle
from service.access import Access
from service.asked import Asked
from service.audits import AuditStore
from service.batcher import Batcher
from service.drain import Drain
from service.labels import LabelStore
from service.monitoring import Monitoring
from service.policies import PolicyInForce
from service.previews import Previews
from service.qualities import Qualities
from service.reading import Reading
from service.settings import Settings
from service.store import PolicyStore

Answered = TypeVar("Answered")


class Worker(Protocol):
    """What the routes need of a worker; `serving.Serving` is one."""

    settings: Settings
    bundle: Bundle
    store: PolicyStore
    policies: PolicyInForce
    previews: Previews
    labels: LabelStore
    audits: AuditStore
    qualities: Qualities
    monitoring: Monitoring
    access: Access
    batcher: Batcher[Asked[Any], Any]
    reading: Reading
    drain: Drain

    async def ask_store(self, ask: Callable[..., Answered], *arguments: Any, **options: Any) -> Answered:
        """What the database says, off the event loop. Raises StoreError, also where it takes too long."""


def worker_of(request: Request) -> Worker:
    """The worker that serves this request."""
    worker: Worker = request.app.state.worker
    return worker


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """NaN is null."""
    return Response(orjson.dumps(value), status, headers, "application/json")
