"""What stands before BentoML's own routes: ours, each request counted by its route."""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import access_log
from service.connection import DEPARTED, departed
from service.predict import predict
from service.problems import CLIENT_LEFT, RETRY_AFTER, Problem
from service.routes import create_app
from service.tracing import traced

app = create_app()
ROUTES = frozenset(str(getattr(route, "path", "")) for route in app.routes)
THEIRS = ("/schema.json", "/static_content/")
CLOSE = (b"connection", b"close")
ENDING = Problem(503, "ending", "the service was asked to end, and has no time left for this", headers=RETRY_AFTER)


def before(theirs: ASGIApp) -> ASGIApp:
    """Ours, and behind it BentoML's: the lifespan, the schema that its Python client reads, and its static files.

    All else goes straight to `app`, past BentoML's tracing, access log and timers.
    """

    ours = traced(_counted)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(THEIRS):
            scope[DEPARTED] = departed(receive)
            await ours(scope, receive, send)
        else:
            await theirs(scope, receive, send)

    return front


async def _counted(scope: Scope, receive: Receive, send: Send) -> None:
    begun, status, taken, worker, path = time.perf_counter(), CLIENT_LEFT, True, app.state.worker, scope["path"]

    async def say(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            if worker.drain.under_way:
                message = {**message, "headers": [*message["headers"], CLOSE]}
        await send(message)

    try:
        if path == "/predict" and scope["method"] == "POST":
            scope["app"] = app
            taken = await predict(worker, scope, receive, say)
        else:
            await app(scope, receive, say)
    except asyncio.CancelledError:
        if not worker.drain.under_way or status != CLIENT_LEFT:
            raise
        await ENDING.response(path)(scope, receive, say)  # there was no time left for it
    finally:
        route = path if path in ROUTES else getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - begun
        if taken:
            worker.metrics.request(route, status, seconds)
        else:
            worker.metrics.refusal(seconds)
        if worker.settings.access_log:
            access_log.note(scope, route, status, seconds)
