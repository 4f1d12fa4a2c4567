"""Bodies: bytes of one image, or a JSON document, never more of either than allowed."""

import asyncio
import json
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from service.problems import Problem

IMAGE_FIELD = "image"
MAX_DOCUMENT = 1 << 20
LINGER_BYTES, LINGER_SECONDS = 64 << 20, 2.0


async def image_bytes(request: Request, limit: int) -> bytes:
    """The image of a request: the multipart file `image`, or the body as it is.

    Problem 400 for a malformed request, 413 beyond `limit` bytes, 415 for a body of another kind.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = await _file(request, limit)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        data = await _limited(request, limit)
    else:
        raise Problem(415, "unsupported-media-type", "expected multipart/form-data with a file `image`, or an image "
                      f"as body with an image/* or application/octet-stream type, got {kind!r}")  # fmt: skip
    if not data:
        raise Problem(400, "malformed-request", "expected an image, got an empty body")
    return data


async def document(request: Request) -> Any:
    """The JSON value of a body; Problem 400 where it is none, 413 where it is too large."""
    data = await _limited(request, MAX_DOCUMENT)
    try:
        return json.loads(data, parse_constant=_refuse, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "malformed-request", f"expected a JSON document, got {error}") from None


async def _limited(request: Request, limit: int) -> bytes:
    body = bytearray()
    await _refuse_announced(request, limit)
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            await _too_large(request, limit)
    return bytes(body)


async def _file(request: Request, limit: int) -> bytes:
    """The multipart file, from a body that was read whole: it is no larger than an image may be."""
    body = await _limited(request, limit)
    replay = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(replay, {"type": "http.disconnect"})

    async with Request(request.scope, receive).form(max_files=8, max_fields=8) as form:
        given = form.getlist(IMAGE_FIELD)
        if len(given) != 1 or not isinstance(given[0], UploadFile):
            came = ", ".join(f"{name} ({'file' if isinstance(value, UploadFile) else 'text'})"
                             for name, value in form.multi_items()) or "nothing"  # fmt: skip
            raise Problem(400, "malformed-request", f"expected one file in the field `{IMAGE_FIELD}`, got {came}")
        return await given[0].read()


async def _refuse_announced(request: Request, limit: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        await _too_large(request, limit)


async def _too_large(request: Request, limit: int) -> None:
    """Refuse, but read on for a moment: a client that is still sending when the connection closes sees no answer."""
    passed = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            async for chunk in request.stream():
                passed += len(chunk)
                if passed > LINGER_BYTES:
                    break
    except TimeoutError:
        pass
    raise Problem(413, "body-too-large", f"expected a body of at most {limit:,} bytes, got more",
                  headers={"Connection": "close"})  # fmt: skip


def _refuse(constant: str) -> Any:
    raise ValueError(f"the number {constant}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return result
