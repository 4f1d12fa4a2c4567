"""What stands before BentoML's own routes: ours, each request counted by its route."""

import time
from typing import Any

import bentoml
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.predict import predict
from service.problems import CLIENT_LEFT
from service.routes import create_app

app = create_app()
ROUTES = frozenset(str(getattr(route, "path", "")) for route in app.routes)
THEIRS = ("/schema.json", "/static_content/")


class Front(bentoml.Service[Any]):
    """A BentoML service whose own routes and middleware are behind ours.

    BentoML keeps the lifespan, the schema that its Python client reads, and its static files; all else
    goes straight to `app`, past its tracing, access log and timers.
    """

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        theirs = super().to_asgi(is_main=is_main)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not scope["path"].startswith(THEIRS):
                await _counted(scope, receive, send)
            else:
                await theirs(scope, receive, send)

        return front


async def _counted(scope: Scope, receive: Receive, send: Send) -> None:
    begun, status, worker, path = time.perf_counter(), CLIENT_LEFT, app.state.worker, scope["path"]

    async def watch(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        if path == "/predict" and scope["method"] == "POST":
            scope["app"] = app
            status = await predict(worker, scope, receive, send)
        else:
            await app(scope, receive, watch)
    finally:
        template = path if path in ROUTES else getattr(scope.get("route"), "path", "unmatched")
        worker.metrics.request(template, status, time.perf_counter() - begun)
