"""POST /predict, the hot route: plain ASGI, so that a request costs little more than its image."""

import asyncio

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from service import body, query
from service.answering import Asked
from service.departed import departed
from service.problems import answer_problem
from service.worker import Worker

ROUTE = "POST /predict"


async def predict(worker: Worker, scope: Scope, receive: Receive, send: Send) -> int:
    """Classify one image; the status that was answered."""
    request = Request(scope, receive)
    try:
        said = await _answer(worker, request)
    except Exception as error:
        response = await answer_problem(request, error)
        await response(scope, receive, send)
        return response.status_code
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})
    return 200


async def _answer(worker: Worker, request: Request) -> bytes:
    if worker.access.closed or "authorization" in request.headers:
        await worker.access.require(request, ROUTE)
    explain = False
    if request.scope["query_string"]:
        query.only(request, "explain")
        explain = query.switch(request, "explain")
    worker.batcher.refuse_or_admit(0)
    async with asyncio.timeout(worker.settings.timeout):
        image = await body.image_bytes(request, worker.settings.max_bytes)
    return await worker.batcher.ask(Asked(image, explain), len(image), departed(request.receive))
