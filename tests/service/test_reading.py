"""Requests that are read: what they hold together, and where large ones are taken apart."""

import asyncio
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from starlette.types import Message

from decision import load_bundle
from service import body, inference
from service.inference import INLINE_BYTES
from service.inference_request import HEADER_LENGTH
from service.problems import Problem
from service.reading import Reading
from tests.conftest import noise, png


def request(*chunks: bytes, **headers: str) -> Request:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1} for i, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    named = [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": named}, receive)


def test_bytes_that_have_arrived_have_a_bound_together() -> None:
    refused: list[int] = []
    reading = Reading(10, refused.append)

    async def one(*chunks: bytes) -> bytes:
        with reading.body() as charge:
            return await body.limited(request(*chunks, content_length="8"), 8, charge)

    async def run() -> None:
        with reading.body() as charge:
            assert await one(b"12345678") == b"12345678", "who has sent nothing takes nothing"
            charge(5)
            assert await one(b"12", b"345") == b"12345"
            for chunks in ([b"123456"], [b"12", b"34", b"56"]):
                with pytest.raises(Problem, match="at most 10 bytes of requests that are being read") as raised:
                    await one(*chunks)
                assert (raised.value.status, raised.value.kind) == (503, "overloaded")
                assert raised.value.headers["Retry-After"]
            assert await one(b"12345") == b"12345", "what was refused gives back what it had"
        assert await one(b"12345678") == b"12345678"

    asyncio.run(run())
    assert refused == [1, 1]


def test_large_requests_are_read_in_turn_and_keep_no_other_thread_busy() -> None:
    reading, free = Reading(), threading.Event()

    def read() -> int:
        free.wait(60)
        return threading.get_ident()

    async def run() -> None:
        reads = [asyncio.ensure_future(reading.beside(read)) for _ in range(64)]
        try:
            async with asyncio.timeout(30):
                own = await asyncio.to_thread(threading.get_ident)
        finally:
            free.set()
        assert own not in (threads := set(await asyncio.gather(*reads)))
        assert len(threads) == 1

    asyncio.run(run())
    reading.close()


def worker(model: Path, **settings: Any) -> Any:
    """Of a worker what reading needs."""
    usual = {"max_bytes": 10 << 20, "timeout": 30.0}
    return SimpleNamespace(reading=Reading(), settings=SimpleNamespace(**usual | settings), bundle=load_bundle(model))


def test_to_wait_for_its_turn_to_be_read_is_in_the_time_of_a_request(tiny_model: Path) -> None:
    one, free = worker(tiny_model, timeout=0.05), threading.Event()

    async def run() -> None:
        busy = asyncio.ensure_future(one.reading.beside(lambda: free.wait(60)))
        await asyncio.sleep(0)  # it is first
        with pytest.raises(TimeoutError):
            await inference.read(request(b" " * INLINE_BYTES), one, one.bundle)
        free.set()
        await busy

    asyncio.run(run())
    one.reading.close()


@pytest.mark.parametrize("padding", [0, INLINE_BYTES])
def test_a_body_of_encoded_images_is_not_kept(tiny_model: Path, padding: int) -> None:
    one, image = worker(tiny_model), png(noise(0))
    binary = len(image).to_bytes(4, "little") + image
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(binary)}}
    header = orjson.dumps({"inputs": [given]}) + b" " * padding
    whole = b"".join([header, binary])
    before = sys.getrefcount(whole)

    group, size = asyncio.run(inference.read(request(whole, **{HEADER_LENGTH: str(len(header))}), one, one.bundle))

    assert (list(group.encoded), size) == ([image], len(whole))
    assert sys.getrefcount(whole) == before
    one.reading.close()
