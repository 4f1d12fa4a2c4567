"""POST /predict, the hot route: plain ASGI, so that a request costs little more than its image."""

import asyncio

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from service import body, query
from service.asked import OneImage
from service.connection import DEPARTED, arrived
from service.problems import RETRY_AFTER, Problem, told
from service.worker import Worker

ROUTE = "POST /predict"
REFUSAL = Problem(503, "overloaded", "too many images are before this one", headers=RETRY_AFTER).messages()
"""Made once: where there is too much to do, it must cost little to say so."""


async def predict(worker: Worker, scope: Scope, receive: Receive, send: Send) -> bool:
    """Classify one image; False where it was refused at once."""
    if worker.batcher.refuses():
        for message in REFUSAL:
            await send(message)
        return False
    request = Request(scope, receive)
    try:
        said = await _answer(worker, request)
    except Exception as error:
        await told(request, error).response(scope["path"])(scope, receive, send)
        return True
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})
    return True


async def _answer(worker: Worker, request: Request) -> bytes:
    if worker.access.closed or "authorization" in request.headers:
        await worker.access.require(request, ROUTE)
    explain = False
    if request.scope["query_string"]:
        query.only(request, "explain")
        explain = query.switch(request, "explain")
    if arrived(request.receive):
        image = await body.image_bytes(request, worker.settings.max_bytes)
    else:
        async with asyncio.timeout(worker.settings.timeout):
            image = await body.image_bytes(request, worker.settings.max_bytes)
    answer: bytes = await worker.batcher.ask(OneImage(image, explain), len(image), departed=request.scope[DEPARTED])
    return answer
