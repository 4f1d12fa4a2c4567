"""Every row of the contract's error table, with real bytes against the running service."""

import io
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from service.access import REQUIRED
from tests.conftest import noise, png
from tests.service.conftest import Server, scrape

GOOD = png(noise(0))


@pytest.fixture(scope="module", autouse=True)
def _nothing_a_client_sent_is_a_500(server: Server) -> Iterator[None]:
    """All requests of this file go through the counters."""
    yield
    samples = scrape(server.url)
    statuses = {dict(labels)["status"] for (name, labels) in samples if name == "equipoise_requests_total"}
    assert statuses
    assert not [status for status in statuses if status.startswith("5")]
    routes = {dict(labels)["route"] for (name, labels) in samples if name == "equipoise_requests_total"}
    assert routes <= {*(route.split()[1] for route in REQUIRED), "unmatched"}
    assert "Traceback" not in server.log


def check(answer: httpx.Response, status: int, says: str = "", pointer: str | None = None) -> dict[str, Any]:
    """A problem of this status, in the form of RFC 9457."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:equipoise:problem:")
    assert problem["title"]
    assert says in problem["detail"], problem
    assert "Traceback" not in answer.text
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
    return problem


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    return buffer.getvalue()


def image(data: bytes, name: str = "image", filename: str = "image.png", kind: str = "image/png") -> dict[str, Any]:
    return {"files": {name: (filename, data, kind)}}


def encoded(charset: str, name: bytes) -> dict[str, Any]:
    """A form whose client chooses the codec of its field names."""
    content = b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\nx\r\n--b--\r\n'
    return {"content": content, "headers": {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}}


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (image(png(noise(1, (64, 64, 3)), "JPEG")[:600]), 422, "expected a readable JPEG image"),
        (image(GOOD[:-30]), 422, "expected a readable PNG image"),
        (image(bomb()), 422, "at most 50,000,000 pixels"),
        (image(b"this is a text file\n" * 50), 415, "expected one of PNG, JPEG"),
        ({"content": b"GET me http://127.0.0.1/", "headers": {"Content-Type": "image/png"}}, 415, "expected one of"),
        (image(GOOD, name="picture"), 400, "expected one file in the field 'image', got 'picture' (file)"),
        ({"data": {"image": "text"}, "files": {"x": b"y"}}, 400, "'image' (text)"),
        ({"files": [("image", GOOD), ("image", GOOD)]}, 400, "expected one file"),
        ({"content": b""}, 400, "empty body"),
        (image(b""), 400, "empty body"),
        ({"content": b"xx", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"xx", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "boundary"),
        (encoded("undefined", b"image"), 400, "(text)"),
        (encoded("punycode", b"image"), 400, "(text)"),
        (encoded("utf-7", b"+2AA-"), 400, "(text)"),
        (encoded("unicode_escape", rb"\ud800"), 400, "(text)"),
        ({"json": {"image": "http://127.0.0.1/"}}, 415, "multipart/form-data"),
        ({"data": {"image": "http://127.0.0.1/x.png"}}, 415, "x-www-form-urlencoded"),
        ({"content": GOOD, "params": {"explain": "maybe"}}, 400, "explain=true"),
        ({"content": GOOD, "params": {"explian": "true"}}, 400, "got 'explian'"),
    ],
)
def test_images_that_cannot_be_answered(client: httpx.Client, request_: dict[str, Any], status: int, says: str) -> None:
    check(client.post("/predict", **request_), status, says)


@pytest.mark.parametrize("form", ["body", "multipart"])
def test_eleven_mebibytes_are_too_many(client: httpx.Client, form: str) -> None:
    large = b"\x89PNG\r\n\x1a\n" + bytes(11 << 20)
    answer = client.post("/predict", content=large) if form == "body" else client.post("/predict", **image(large))
    check(answer, 413, "at most 10,485,760 bytes")


def test_a_body_without_a_length_is_counted_as_it_comes(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield bytes(1 << 20)

    check(client.post("/predict", content=chunks()), 413, "at most 10,485,760 bytes")


def raw(server: Server, *parts: bytes) -> bytes:
    """What the service answers to these bytes, sent part by part."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.05)
        answer = connection.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        return answer


def test_a_body_that_crosses_the_limit_with_its_last_byte(start: Any) -> None:
    server = start(EQUIPOISE_MAX_BYTES="1000", workers=1).wait()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"3e9\r\n" + bytes(1001) + b"\r\n0\r\n\r\n"
    assert raw(server, whole).startswith(b"HTTP/1.1 413 ")
    assert raw(server, head, whole[len(head) :]).startswith(b"HTTP/1.1 413 ")
    expect = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n"
    assert raw(server, expect).startswith(b"HTTP/1.1 413 "), "no leave to send is given"


def test_a_body_that_never_comes_is_a_timeout(start: Any) -> None:
    server = start(EQUIPOISE_TIMEOUT="1", workers=1).wait()
    answer = raw(server, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 504 ")


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: Server, client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as early:
        early.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    assert client.post("/predict", content=GOOD).status_code == 200


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    check(client.get("/nothing"), 404)
    check(client.post("/predict/"), 404)
    answer = client.get("/predict")
    check(answer, 405)
    assert answer.headers["allow"] == "POST"
    answer = client.delete("/config")
    check(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, PATCH, PUT"
    for path in ("/livez", "/readyz", "/config", "/model", "/metrics"):
        assert client.head(path).status_code == 200


def put(server: Server, client: httpx.Client, document: object, **headers: str) -> httpx.Response:
    given = server.token | {"If-Match": client.get("/config").headers["etag"]} | headers
    content = document if isinstance(document, bytes) else json.dumps(document)
    return client.put("/config", content=content, headers={k: v for k, v in given.items() if v})


@pytest.mark.parametrize(
    ("document", "status", "says", "pointer"),
    [
        (b"{", 400, "expected a JSON document", None),
        (b"\xff\xfe", 400, "expected a JSON document", None),
        (b'{"abstain_below": NaN}', 400, "NaN", None),
        (b'{"abstain_below": 0.1, "abstain_below": 0.2}', 400, "'abstain_below' twice", None),
        (rb'{"rule": {"kind": "thresholds", "thresholds": {"\ud800": 0.5}}}', 422, "unknown class", None),
        (rb'{"deployment_priors": {"\ud800": 0.5}}', 422, "unknown class", None),
        (b"[" * 100_000, 400, "expected a JSON document", None),
        (b" " * (2 << 20), 413, "at most 1,048,576 bytes", None),
        ([], 422, "", ""),
        ({"rule": {"kind": "thresholds", "thresholds": {"pink": 0.5}}}, 422, "unknown class", "/rule/thresholds/pink"),
        ({"deployment_priors": {"red": 0.5, "green": 0.3, "blue": 0.1}}, 422, "sum of 0.9", "/deployment_priors"),
        ({"deployment_priors": {"red": 0.5, "green": 0.5}}, 422, "no prior for class 'blue'", "/deployment_priors"),
        ({"abstain_below": 2}, 422, "less than or equal to 1", "/abstain_below"),
        ({"treshold": 2}, 422, "expected no such field", "/treshold"),
        ({"rule": {"kind": "recall", "targets": {"pink": 0.9}}}, 422, "unknown class", "/rule/targets/pink"),
        ({"rule": {"kind": "recall", "targets": {"red": 1}}}, 422, "less than 1", "/rule/targets/red"),
        ({"rule": {"kind": "recall", "targets": {}}}, 422, "expected at least one entry", "/rule/targets"),
        ({"rule": {"kind": "recall", "targets": {"red": 0.9}}}, 422, "expected at least 29", "/rule/targets/red"),
        ({"rule": {"kind": "cost", "costs": {"red": {"blue": -1}}}}, 422, "greater than or", "/rule/costs/red/blue"),
        ({"rule": {"kind": "cost", "costs": {"red": {"red": 1}}}}, 422, "costs 0, got 1", "/rule/costs/red/red"),
    ],
)
def test_documents_that_are_no_policy(
    server: Server, client: httpx.Client, document: object, status: int, says: str, pointer: str | None
) -> None:
    before = client.get("/config").json()
    check(put(server, client, document), status, says, pointer)
    assert client.get("/config").json() == before


def test_not_certifiable_says_what_would_be_for_every_target(server: Server, client: httpx.Client) -> None:
    targets = {"red": 0.9, "green": 0.5, "blue": 0.99}
    problem = check(put(server, client, {"rule": {"kind": "recall", "targets": targets}}), 422, "not certifiable")
    assert problem["type"] == "urn:equipoise:problem:not-certifiable"
    needed = {fault["pointer"]: fault["needed"] for fault in problem["errors"]}
    assert needed == {"/rule/targets/red": 39, "/rule/targets/blue": 408}, "smallest n with recall^n ≤ 0.05 / 3"
    best = [fault["best_recall"] for fault in problem["errors"]]
    assert sorted(best) == pytest.approx([(0.05 / 3) ** (1 / 6), (0.05 / 3) ** (1 / 7)])


def test_however_many_faults_there_are_the_answer_is_short(server: Server, client: httpx.Client) -> None:
    answer = put(server, client, {"rule": {"kind": "recall", "targets": {f"x{i}": 0.9 for i in range(20_000)}}})
    problem = check(answer, 422, "and 19,980 more")
    assert len(problem["errors"]) == 20
    assert len(answer.content) < 20_000


def test_preconditions(server: Server, client: httpx.Client) -> None:
    check(put(server, client, {}, **{"If-Match": ""}), 428, "expected If-Match")
    for stale in ('"0"', '"999999"', 'W/"1"', "1"):
        problem = check(put(server, client, {}, **{"If-Match": stale}), 412, "in force is")
        assert problem["revision"] == client.get("/config").json()["revision"]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("", 401), ("Bearer", 401), ("Basic dGVzdA==", 401), ("Bearer wrong", 403), ("Bearer tést".encode(), 403)],
)
def test_tokens(server: Server, client: httpx.Client, authorization: Any, status: int) -> None:
    before = client.get("/config").json()
    answer = put(server, client, {}, Authorization=authorization)
    problem = check(answer, status)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert "wrong" not in problem["detail"]
    assert client.get("/config").json() == before


def test_reading_and_predicting_can_be_closed(start: Any) -> None:
    closed = start(EQUIPOISE_PREDICT_TOKEN="reader").wait()
    with httpx.Client(base_url=closed.url) as client:
        for method, path in [("GET", "/config"), ("GET", "/model"), ("POST", "/predict")]:
            check(client.request(method, path), 401)
            check(client.request(method, path, headers={"Authorization": "Bearer other"}), 403)
        for token in ("reader", "test-admin-token"):
            headers = {"Authorization": f"Bearer {token}"}
            assert client.post("/predict", content=GOOD, headers=headers).status_code == 200
        reader = {"Authorization": "Bearer reader", "If-Match": '"1"'}
        check(client.put("/config", content="{}", headers=reader), 403)
        assert client.get("/readyz").status_code == 200
