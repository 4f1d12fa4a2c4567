"""Many images in one request: each has its own answer or problem, whatever its neighbours are."""

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import httpx
import numpy as np
import psutil
import pytest

from service.limits import MOST_IMAGES
from service.predict_batch import MOST_BYTES_AT_ONCE, _room
from service.worker import Worker
from tests.conftest import noise, png
from tests.service.conftest import Server, scrape, total
from tests.service.test_problems import check

GOOD = [png(noise(seed)) for seed in range(5)]


def files(*images: bytes, field: str = "images") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, (f"{i}.png", image, "image/png")) for i, image in enumerate(images)]


def test_each_image_has_the_answer_that_it_has_alone(client: httpx.Client) -> None:
    alone = [client.post("/predict", files={"image": image}).json() for image in GOOD]
    answer = client.post("/predict/batch", files=files(*GOOD * 20))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()["answers"]
    assert len(found) == 100
    assert len({one["id"] for one in found}) == 100
    for i, one in enumerate(found):
        assert one | {"id": ""} == alone[i % 5] | {"id": ""}, "in their order, and to the last bit"


def test_explained_where_it_is_asked_for(client: httpx.Client) -> None:
    alone = client.post("/predict", files={"image": GOOD[0]}, params={"explain": "true"}).json()
    [first, second] = client.post("/predict/batch", files=files(GOOD[1], GOOD[0]), params={"explain": "1"}).json()[
        "answers"
    ]
    assert second["explanation"] == alone["explanation"] != first["explanation"]


def test_a_bad_image_harms_no_other(client: httpx.Client) -> None:
    bad = [b"", b"no image", GOOD[0][:40], b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"x" * (11 << 20)]
    mixed = [image for pair in zip(GOOD, bad, strict=True) for image in pair]
    found = client.post("/predict/batch", files=files(*mixed), timeout=60).json()["answers"]
    assert [one.get("problem", {}).get("status", 200) for one in found] == [
        200,
        400,
        200,
        415,
        200,
        422,
        200,
        422,
        200,
        413,
    ]
    for one in found[1::2]:
        assert one["problem"]["type"].startswith("urn:equipoise:problem:")
        assert one["problem"]["detail"]


@pytest.mark.parametrize(
    ("headers", "content", "status", "says"),
    [
        ({"Content-Type": "image/png"}, GOOD[0], 415, "expected multipart/form-data"),
        ({"Content-Type": "multipart/form-data"}, GOOD[0], 400, "boundary"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"hello", 400, "multipart/form-data"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\nhalf", 400, "ends with its boundary"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 400, "got none"),
        ({}, b"", 415, "expected multipart/form-data"),
    ],
)
def test_a_malformed_request_is_told_so(
    client: httpx.Client, headers: dict[str, str], content: bytes, status: int, says: str
) -> None:
    check(client.post("/predict/batch", content=content, headers=headers), status, says)


def test_another_field_and_too_many_images_are_refused(client: httpx.Client) -> None:
    check(client.post("/predict/batch", files=files(GOOD[0], field="image")), 400, "the field 'images', got 'image'")
    check(
        client.post("/predict/batch", files=files(*[b"x"] * (MOST_IMAGES + 1)), timeout=60),
        413,
        "at most 10,000 images",
    )
    check(client.post("/predict/batch?dry=1", files=files(GOOD[0])), 400, "no query parameter but explain")
    check(client.get("/predict/batch"), 405)


def test_memory_is_bounded_whatever_the_body_is(start: Callable[..., Server]) -> None:
    server = start(workers=1).wait()
    [pid] = server.worker_pids()
    worker = psutil.Process(pid)
    big = GOOD[0] + b"\0" * (4 << 20)  # a decoder stops at the image's end
    boundary = b"equipoise"
    head = b'--equipoise\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'
    most = before = worker.memory_info().rss

    def body() -> Iterator[bytes]:
        nonlocal most
        for _ in range(200):
            yield head + big + b"\r\n"
            most = max(most, worker.memory_info().rss)
        yield b"--" + boundary + b"--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=equipoise"}
    answer = httpx.post(f"{server.url}/predict/batch", content=body(), headers=headers, timeout=120)
    assert [one["abstained"] for one in answer.json()["answers"]] == [False] * 200
    assert most - before < 400 << 20, "800 MiB were sent"


def test_who_leaves_in_the_middle_leaves_nothing_behind(start: Callable[..., Server]) -> None:
    server = start(workers=1).wait()

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + GOOD[0] + b"\r\n"
        raise httpx.WriteError("gone")

    with pytest.raises(httpx.HTTPError), httpx.Client(base_url=server.url) as client:
        client.post("/predict/batch", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    deadline = time.monotonic() + 10
    while not total(scrape(server.url), "equipoise_requests_total", route="/predict/batch", status="499"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.post(f"{server.url}/predict", files={"image": GOOD[0]}).status_code == 200
    assert "Traceback" not in server.log
    assert "never retrieved" not in server.log


def test_a_request_of_more_than_may_wait_is_answered_whole_and_lets_others_in_between(
    start: Callable[..., Server],
) -> None:
    server = start(workers=1, EQUIPOISE_THREADS="1", EQUIPOISE_MAX_WAIT="0.2").wait()
    slow = png(np.zeros((2500, 2500, 3), np.uint8))  # some 20 ms to decode: all of them take longer than may be waited

    async def run() -> tuple[httpx.Response, list[httpx.Response]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await client.post("/predict", files={"image": slow})
            many = asyncio.ensure_future(client.post("/predict/batch", files=files(*[slow] * 60)))
            between = []
            while not many.done():
                between.append(await client.post("/predict", files={"image": GOOD[0]}))
            return await many, between

    many, between = asyncio.run(run())
    answers = many.json()["answers"]
    assert len(answers) == 60
    assert all("id" in one for one in answers)
    assert len(between) >= 3
    assert {one.status_code for one in between} == {200}


def test_what_others_sent_holds_nobody_up_who_waits_for_nothing() -> None:
    """The queue is full of others' images, and none of its own is left: it reads on."""

    async def run() -> None:
        done: list[asyncio.Task[bytes]] = [asyncio.create_task(asyncio.sleep(0, b""))]
        await asyncio.wait(done)
        full = SimpleNamespace(batcher=SimpleNamespace(bytes_waiting=MOST_BYTES_AT_ONCE))
        await asyncio.wait_for(_room(done, cast("Worker", full)), 1)

    asyncio.run(run())
