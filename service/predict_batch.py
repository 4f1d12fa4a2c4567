"""POST /predict/batch: many images in one request, each with its own answer or problem, as they arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service import query
from service.asked import OneImage
from service.connection import DEPARTED
from service.limits import MOST_IMAGES
from service.parts import Part, parts
from service.problems import FORESEEN, Problem, problem_of
from service.worker import Worker, worker_of

FIELD = "images"
MOST_AT_ONCE = 128
MOST_BYTES_AT_ONCE = 64 << 20


async def predict_batch(request: Request) -> Response:
    """Classify many images: `{"answers": […]}` in their order, a problem in place of an answer that cannot be."""
    worker = worker_of(request)
    await worker.access.require(request, "POST /predict/batch")
    query.only(request, "explain")
    explain = query.switch(request, "explain")
    worker.batcher.refuse_or_admit(0)
    asked: list[asyncio.Task[bytes]] = []
    gone = request.scope[DEPARTED]
    try:
        async for image in _images(request, worker.settings.max_bytes):
            asked.append(asyncio.create_task(_one(worker, image, explain, gone)))
            await _room(asked, worker)
        said = await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()  # for want of a client, or of the rest of the body
    return Response(b'{"answers":[' + b",".join(said) + b"]}", media_type="application/json")


async def _images(request: Request, limit: int) -> AsyncIterator[Part]:
    n = 0
    async for part in parts(request, limit):
        if part.name != FIELD:
            raise Problem(400, "malformed-request", f"expected files in the field {FIELD!r}, got {part.name[:40]!r}")
        n += 1
        if n > MOST_IMAGES:
            raise Problem(413, "body-too-large", f"expected at most {MOST_IMAGES:,} images, got more")
        yield part
    if not n:
        raise Problem(400, "malformed-request", f"expected files in the field {FIELD!r}, got none")


async def _room(asked: list[asyncio.Task[bytes]], worker: Worker) -> None:
    """Read on only while little enough waits: the rest of the body stays with the client."""
    while True:
        open_ = [task for task in asked[-2 * MOST_AT_ONCE :] if not task.done()]
        enough = len(open_) >= MOST_AT_ONCE or worker.batcher.bytes_waiting >= MOST_BYTES_AT_ONCE
        if not open_ or not (enough or worker.batcher.crowded(len(open_) + 1)):
            return
        await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)


async def _one(worker: Worker, image: Part, explain: bool, gone: Callable[[], bool]) -> bytes:
    try:
        if image.data is None:
            limit = worker.settings.max_bytes
            raise Problem(413, "image-too-large", f"expected an image of at most {limit:,} bytes, got more")
        if not image.data:
            raise Problem(400, "malformed-request", "expected an image, got an empty file")
        answer: bytes = await worker.batcher.ask(
            OneImage(image.data, explain), len(image.data), departed=gone, admitted=True
        )
        return answer
    except FORESEEN as error:
        return orjson.dumps({"problem": problem_of(error).document()})
