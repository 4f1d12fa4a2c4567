"""Bodies: bytes of one image, or a JSON document, never more of either than allowed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

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
        data = await limited(request, limit)
    else:
        raise Problem(415, "unsupported-media-type", "expected multipart/form-data with a file `image`, or an image "
                      f"as body with an image/* or application/octet-stream type, got {kind!r}")  # fmt: skip
    if not data:
        raise Problem(400, "malformed-request", "expected an image, got an empty body")
    return data


async def document(request: Request) -> Any:
    """The JSON value of a body; Problem 400 where it is none, 413 where it is too large."""
    data = await limited(request, MAX_DOCUMENT)
    try:
        return json.loads(data, parse_constant=_refuse, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "malformed-request", f"expected a JSON document, got {error}") from None


async def limited(request: Request, limit: int, charge: Callable[[int], None] = lambda _: None) -> bytes:
    """The whole body; Problem 413 beyond `limit` bytes, as soon as that is known.

    `charge` is told of the bytes as they arrive, and may raise.
    """
    announced = request.headers.get("content-length", "")
    chunks = request.stream()
    if announced.isdecimal() and int(announced) > limit:
        if request.headers.get("expect", "").lower() != "100-continue":  # else the client waits for leave to send
            await _linger(chunks)
        raise _too_large(limit)
    first = await request.receive()
    if first["type"] == "http.disconnect":
        raise ClientDisconnect
    data, more = first.get("body", b""), first.get("more_body", False)
    charge(len(data))
    if more:
        body = bytearray(data)
        async for chunk in chunks:
            charge(len(chunk))
            body += chunk
            if len(body) > limit:
                await _linger(chunks)
                raise _too_large(limit)
        data = bytes(body)
    if len(data) > limit:
        raise _too_large(limit)
    whole: bytes = data
    return whole


async def _linger(chunks: AsyncIterator[bytes]) -> None:
    """Read on for a moment: a client that is still sending when the connection closes would see no answer."""
    passed = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            async for chunk in chunks:
                passed += len(chunk)
                if passed > LINGER_BYTES:
                    return


def _too_large(limit: int) -> Problem:
    detail = f"expected a body of at most {limit:,} bytes, got more"
    return Problem(413, "body-too-large", detail, headers={"Connection": "close"})


async def _file(request: Request, limit: int) -> bytes:
    """The multipart file, from a body that was read whole: it is no larger than an image may be."""
    body = await limited(request, limit)
    replay = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(replay, {"type": "http.disconnect"})

    # The boundary alone: a client's charset would choose the codec that its field names are read with.
    _, options = parse_options_header(request.headers["content-type"])
    content_type = b"multipart/form-data; boundary=" + options.get(b"boundary", b"")
    scope = dict(request.scope) | {"headers": [(b"content-type", content_type)]}
    try:
        form = await Request(scope, receive).form(max_files=8, max_fields=8)
    except HTTPException as error:
        detail = f"expected multipart/form-data with a boundary and parts: {error.detail}"
        raise Problem(400, "malformed-request", detail) from None
    try:
        given = form.getlist(IMAGE_FIELD)
        if len(given) != 1 or not isinstance(given[0], UploadFile):
            kinds = {True: "file", False: "text"}
            came = ", ".join(f"{name!r} ({kinds[isinstance(value, UploadFile)]})" for name, value in form.multi_items())
            detail = f"expected one file in the field {IMAGE_FIELD!r}, got {came or 'nothing'}"
            raise Problem(400, "malformed-request", detail)
        return await given[0].read()
    finally:
        await form.close()


def _refuse(constant: str) -> Any:
    raise ValueError(f"the number {constant}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name[:100]!r} twice")
        result[name] = value
    return result
