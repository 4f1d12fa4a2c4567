"""The Open Inference Protocol: the wire format, and what real clients find at a real service."""

import json
import socket
import struct
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from decision import load_bundle, read_image
from service.inference import INLINE_BYTES, MOST_BYTES
from service.inference_answer import Tensor, answer_of
from service.inference_request import HEADER_LENGTH, MOST_JSON, InferenceRequest, request_of
from service.limits import MOST_TENSOR_IMAGES
from service.problems import Problem
from tests.conftest import CLASSES, SPEC, noise, png
from tests.service.conftest import ROOT, Server, put, scrape, total, until

IMAGES = np.stack([noise(seed) for seed in range(5)])
ENCODED = [png(pixels) for pixels in IMAGES]
OUTPUTS = ["probabilities", "label", "abstained", "flags", "id"]
FLAGGING = {"rule": {"kind": "thresholds", "thresholds": {"green": 0.35, "blue": 0.2}}, "abstain_below": 0.55}
URL = "/v2/models/tiny/infer"


def request(body: dict[str, Any], *binary: bytes) -> InferenceRequest:
    header = orjson.dumps(body)
    return request_of(b"".join([header, *binary]), str(len(header)) if binary else None)


def as_request(tensor: Tensor, binary: bool) -> InferenceRequest:
    """A tensor as it is answered, asked: the form is the same."""
    body, length = answer_of({}, [tensor], {tensor.name: binary})
    header = body if length is None else body[:length]
    inputs = header.replace(b'"outputs"', b'"inputs"', 1)
    return request_of(inputs + body[len(header) :], None if length is None else str(len(inputs)))


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_bytes_come_back_as_they_were(elements: list[bytes]) -> None:
    tensor = Tensor("image", "BYTES", (len(elements),), elements)
    assert as_request(tensor, True).input.bytes_elements() == elements
    given = {"name": "image", "datatype": "BYTES", "shape": [len(elements)],
             "data": [b64encode(one).decode() for one in elements]}  # fmt: skip
    assert request({"inputs": [given]}).input.bytes_elements() == elements
    if elements:
        array = np.empty(len(elements), object)
        array[:] = elements
        assert answer_of({}, [tensor], {"image": True})[0].endswith(serialize_byte_tensor(array).item())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 2**32 - 1), st.booleans())
def test_pixels_come_back_as_they_were(shape: list[int], seed: int, binary: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if binary or pixels.size:
        back = as_request(Tensor("image", "UINT8", tuple(shape), pixels), binary).input.uint8()
        assert back.tolist() == pixels.tolist()
    nested = {"name": "image", "datatype": "UINT8", "shape": shape, "data": pixels.tolist()}
    assert request({"inputs": [nested]}).input.uint8().tolist() == pixels.tolist()


@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=3, max_size=3))
def test_tritons_client_reads_what_was_answered(n: int, seed: int, binary: list[bool]) -> None:
    rng = np.random.default_rng(seed)
    words = [f"{'ü' * int(k)}" for k in rng.integers(0, 5, n)]
    tensors = [
        Tensor("p", "FP64", (n, 3), rng.normal(size=(n, 6))[:, ::2]),
        Tensor("f", "BOOL", (n, 3), rng.integers(0, 2, (n, 3)).astype(bool)),
        Tensor("l", "BYTES", (n,), [word.encode() for word in words]),
    ]
    which = dict(zip("pfl", binary, strict=True))
    body, length = answer_of({"id": "7"}, tensors, which)
    found = triton.InferResult.from_response_body(body, header_length=length)
    assert found.get_response()["id"] == "7"
    for tensor in tensors[:2]:
        assert found.as_numpy(tensor.name).tolist() == np.asarray(tensor.values).tolist()
    assert [word.decode() if which["l"] else word for word in found.as_numpy("l")] == words


@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(-1, 300).map(str)))
def test_no_bytes_are_more_than_a_problem(body: bytes, length: str | None) -> None:
    status = 400
    try:
        request_of(body, length).input.bytes_elements()
    except Problem as problem:
        status = problem.status
    assert status == 400


def test_binary_pixels_are_not_copied() -> None:
    header = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,2],"parameters":{"binary_data_size":2}}]}'
    body = header + b"\x01\x02"
    found = request_of(body, str(len(header))).input.uint8()
    assert np.shares_memory(found, np.frombuffer(body, np.uint8))


@pytest.fixture(scope="module")
def served(server: Server, tiny_model: Path) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture(autouse=True)
def _policy(request: pytest.FixtureRequest) -> None:
    if "client" in request.fixturenames:
        assert put(request.getfixturevalue("client"), FLAGGING).status_code == 200


def pixels_input(images: np.ndarray = IMAGES, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("image", list(images.shape), "UINT8")
    made.set_data_from_numpy(images, binary_data=binary)
    return made


def encoded_input(images: list[bytes], *, binary: bool = True) -> triton.InferInput:
    array = np.empty(len(images), object)
    array[:] = images if binary else [b64encode(image) for image in images]
    made = triton.InferInput("image", [len(images)], "BYTES")
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def text(values: np.ndarray) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def check_same(found: Any, alone: list[dict[str, Any]]) -> None:
    """The answers of POST /predict, to the last bit."""
    assert found("probabilities").tolist() == [list(one["probabilities"].values()) for one in alone]
    assert text(found("label")) == [one["label"] or "" for one in alone]
    assert found("abstained").tolist() == [one["abstained"] for one in alone]
    flags = [[name for name, flagged in zip(CLASSES, row, strict=True) if flagged] for row in found("flags").tolist()]
    assert flags == [one["flags"] for one in alone]
    assert len(set(text(found("id")))) == len(alone)


def predicted(client: httpx.Client) -> list[dict[str, Any]]:
    alone = [client.post("/predict", files={"image": image}).json() for image in ENCODED]
    assert {one["abstained"] for one in alone} == {True, False}
    assert any(one["flags"] for one in alone)
    return alone


def test_tritons_client_finds_server_and_model(served: triton.InferenceServerClient, tiny_model: Path) -> None:
    version = load_bundle(tiny_model).manifest.version
    assert served.is_server_live()
    assert served.is_server_ready()
    assert served.is_model_ready("tiny")
    assert served.is_model_ready("tiny", version)
    assert not served.is_model_ready("tiny", "1")
    assert not served.is_model_ready("other")
    assert served.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    card = served.get_model_metadata("tiny")
    assert card == served.get_model_metadata("tiny", version)
    assert card["versions"] == [version]
    assert card["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 4, 6, 3]}]
    assert [output["name"] for output in card["outputs"]] == OUTPUTS
    assert card["parameters"]["classes"] == list(CLASSES)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritons_client_gets_the_answers_of_predict(
    served: triton.InferenceServerClient, client: httpx.Client, binary_in: bool, binary_out: bool
) -> None:
    alone = predicted(client)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS]
    for image in (pixels_input(binary=binary_in), encoded_input(ENCODED, binary=binary_in)):
        found = served.infer("tiny", [image], outputs=wanted, request_id="mine")
        check_same(found.as_numpy, alone)
        answer = found.get_response()
        assert answer["id"] == "mine"
        assert answer["parameters"] == {"policy_revision": alone[0]["policy_revision"], "model": alone[0]["model"]}
        assert f"{answer['model_name']}:{answer['model_version']}" == alone[0]["model"]


def test_only_the_outputs_that_are_asked_for(served: triton.InferenceServerClient, client: httpx.Client) -> None:
    wanted = [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("abstained", binary_data=False)]
    answer = served.infer("tiny", [pixels_input()], outputs=wanted).get_response()
    assert [output["name"] for output in answer["outputs"]] == ["label", "abstained"]
    assert ["data" in output for output in answer["outputs"]] == [False, True]
    everything = served.infer("tiny", [pixels_input()]).get_response()
    assert [output["name"] for output in everything["outputs"]] == OUTPUTS
    assert all("binary_data_size" in output["parameters"] for output in everything["outputs"])
    assert "id" not in everything


def test_much_json_is_read_beside_the_loop(served: triton.InferenceServerClient, client: httpx.Client) -> None:
    many = np.stack([noise(seed) for seed in range(MOST_TENSOR_IMAGES)])
    nested = {"inputs": [{"name": "image", "datatype": "UINT8", "shape": list(many.shape), "data": many.tolist()}]}
    body = json.dumps(nested, indent=4).encode()
    assert len(body) > INLINE_BYTES
    found = client.post(URL, content=body).json()["outputs"][0]["data"]
    assert found == served.infer("tiny", [pixels_input(many)]).as_numpy("probabilities").ravel().tolist()


def test_more_images_than_a_batch_have_one_answer(served: triton.InferenceServerClient, client: httpx.Client) -> None:
    many = np.stack([noise(seed) for seed in range(MOST_TENSOR_IMAGES)])
    found = served.infer("tiny", [pixels_input(many)])
    assert len(set(found.as_numpy("id"))) == MOST_TENSOR_IMAGES
    for first in range(0, MOST_TENSOR_IMAGES, 64):
        some = served.infer("tiny", [pixels_input(many[first : first + 64])])
        assert some.as_numpy("probabilities").tolist() == found.as_numpy("probabilities")[first : first + 64].tolist()
    with pytest.raises(InferenceServerException, match="at most 256 images in a request, got 257"):
        served.infer("tiny", [pixels_input(np.concatenate([many, IMAGES[:1]]))])


def test_one_bad_image_fails_its_request_and_none_of_it_counts(
    served: triton.InferenceServerClient, client: httpx.Client, server: Server
) -> None:
    before = total(scrape(server.url), "equipoise_raw_predictions_total")
    for bad, says, status in (
        (b"no image", "image 2: expected one of PNG", "415"),
        (ENCODED[0][:40], "image 2: expected a readable PNG", "422"),
        (b"", "image 2: expected an encoded image", "400"),
        (b"x" * (10 << 20 | 1), "image 2: expected at most 10,485,760 bytes", "413"),
    ):
        with pytest.raises(InferenceServerException, match=says) as raised:
            served.infer("tiny", [encoded_input([*ENCODED[:2], bad, *ENCODED[2:]])])
        assert raised.value.status() == status
    assert total(scrape(server.url), "equipoise_raw_predictions_total") == before
    served.infer("tiny", [encoded_input(ENCODED)])
    samples = scrape(server.url)
    assert total(samples, "equipoise_raw_predictions_total") == before + 5
    assert total(samples, "equipoise_requests_total", route="/v2/models/{name}/infer", status="415")


GOOD = {"name": "image", "datatype": "UINT8", "shape": [1, 4, 6, 3], "data": [0] * 72}
BINARY = {"name": "image", "datatype": "UINT8", "shape": [1, 4, 6, 3], "parameters": {"binary_data_size": 72}}


def asks(**changes: Any) -> dict[str, Any]:
    return {"inputs": [GOOD | changes]}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "expected a JSON object as body"),
        (b"{", 400, "expected a JSON object as body"),
        ([], 400, "expected a JSON object as body, got []"),
        ({}, 400, "a list `inputs` with one tensor, got none"),
        ({"inputs": {}}, 400, "a list `inputs` with one tensor, got an object"),
        ({"inputs": []}, 400, "expected one input, got 0"),
        ({"inputs": [GOOD, GOOD]}, 400, "expected one input, got 2"),
        ({"inputs": ["image"]}, 400, "an object as input, got 'image'"),
        ({"inputs": [GOOD], "id": 7}, 400, "`id` to be a string, got 7"),
        (asks(name="images"), 400, "the input 'image', got 'images'"),
        (asks(name=None), 400, "a string `name` of the input, got none"),
        (asks(datatype="FP32"), 400, "the datatype UINT8 or BYTES, got 'FP32'"),
        (asks(shape=None), 400, "a list `shape` of the input, got none"),
        (asks(shape=[4, 6, 3]), 400, "the shape [n, 4, 6, 3] of UINT8, n from 1, got [4, 6, 3]"),
        (asks(shape=[0, 4, 6, 3], data=[]), 400, "n from 1, got [0, 4, 6, 3]"),
        (asks(shape=[1, 5, 6, 3]), 400, "the shape [n, 4, 6, 3]"),
        (asks(shape=[-1, 4, 6, 3]), 400, "whole numbers from 0, 8 at most, got [-1, 4, 6, 3]"),
        (asks(shape=[1.0, 4, 6, 3]), 400, "whole numbers from 0"),
        (asks(shape=[True, 4, 6, 3]), 400, "whole numbers from 0"),
        (asks(shape=[1 << 62, 4, 6, 3]), 400, "whole numbers from 0"),
        (asks(shape=[(1 << 31) - 1, 4, 6, 3]), 413, "at most 256 images in a request, got 2,147,483,647"),
        (asks(data=[0] * 71), 400, "expected 72 bytes for the shape [1, 4, 6, 3], got 71"),
        (asks(data=[0] * 71 + [256]), 400, "whole numbers from 0 to 255"),
        (asks(data=[0] * 71 + [0.5]), 400, "whole numbers from 0 to 255"),
        (asks(data=[0] * 71 + ["0"]), 400, "whole numbers from 0 to 255"),
        (asks(data=[0] * 71 + [True]), 400, "whole numbers from 0 to 255"),
        (asks(data=[[[[0] * 3] * 6] * 3 + [[[0] * 3] * 5 + [[False] * 3]]]), 400, "whole numbers from 0 to 255"),
        (asks(data=[[[0] * 3] * 6] * 4), 400, "lists in lists as the shape has them"),
        (asks(data="AAAA"), 400, "a list of numbers as `data` of UINT8, got 'AAAA'"),
        (asks(data=None), 400, "`data` or `parameters.binary_data_size` of the input, got neither"),
        (asks(parameters={"binary_data_size": 72}), 400, "of the input, got both"),
        (asks(parameters=[]), 400, "an object `parameters`, got []"),
        (asks(datatype="BYTES"), 400, "the shape [n] of BYTES"),
        (asks(datatype="BYTES", shape=[1], data=["€"]), 400, "base64 text as element 0"),
        (asks(datatype="BYTES", shape=[1], data=[7]), 400, "base64 text as element 0, got 7"),
        (asks(datatype="BYTES", shape=[2], data=["AAAA"]), 400, "2 elements for the shape [2], got 1"),
        ({"inputs": [BINARY]}, 400, "`binary_data_size` 0, what follows the JSON, got 72"),
        ({"inputs": [GOOD], "outputs": [{"name": "logits"}]}, 400, "expected outputs out of probabilities, label"),
        ({"inputs": [GOOD], "outputs": [{"name": "id"}, {"name": "id"}]}, 400, "each output once, got 'id' twice"),
        ({"inputs": [GOOD], "outputs": 0}, 400, "a list `outputs`, got 0"),
        ({"inputs": [GOOD], "outputs": ""}, 400, "a list `outputs`, got ''"),
        ({"inputs": [GOOD], "outputs": {}}, 400, "a list `outputs`, got an object"),
        ({"inputs": [GOOD], "outputs": False}, 400, "a list `outputs`, got False"),
        ({"inputs": [GOOD], "outputs": [{}]}, 400, "a string `name` of the output, got none"),
        ({"inputs": [GOOD], "outputs": [{"name": "id", "parameters": {"classification": 2}}]}, 400, "but binary_data"),
        ({"inputs": [GOOD], "outputs": [{"name": "id", "parameters": {"binary_data": 1}}]}, 400, "or false, got 1"),
        ({"inputs": [GOOD], "parameters": {"binary_data_output": "yes"}}, 400, "true or false, got 'yes'"),
        (b'{"inputs":[{"data":[' + b"[]," * (4 << 20) + b"[]]}]}", 413, "at most 4,194,304 bytes of JSON, got more"),
        (b" " * (MOST_JSON + 1), 413, "bytes of JSON, got more: send tensors as binary data"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(client: httpx.Client, body: Any, status: int, says: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    refused = client.post(URL, content=content)
    assert (refused.status_code, list(refused.json())) == (status, ["error"])
    assert says in refused.json()["error"]
    for nothing in (None, []):
        answer = client.post(URL, json=asks() | {"id": None, "outputs": nothing, "parameters": None}).json()
        assert [output["name"] for output in answer["outputs"]] == OUTPUTS


@pytest.mark.parametrize(
    ("length", "binary", "says"),
    [
        ("x", b"", "a whole number in Inference-Header-Content-Length, got 'x'"),
        ("-1", b"", "a whole number"),
        ("0", b"", "Inference-Header-Content-Length from 1 to"),
        ("100000", b"", "Inference-Header-Content-Length from 1 to"),
        (None, b"\0" * 71, "`binary_data_size` 71, what follows the JSON, got 72"),
        (None, b"\0" * 73, "`binary_data_size` 73, what follows the JSON, got 72"),
    ],
)
def test_binary_data_that_do_not_fit_are_refused(
    client: httpx.Client, length: str | None, binary: bytes, says: str
) -> None:
    header = orjson.dumps({"inputs": [BINARY]})
    headers = {HEADER_LENGTH: str(len(header)) if length is None else length}
    refused = client.post(URL, content=header + binary, headers=headers)
    assert refused.status_code == 400
    assert says in refused.json()["error"]


@pytest.mark.parametrize("binary", [b"\4\0\0", struct.pack("<I", 9) + b"abc", struct.pack("<I", 0xFFFFFFFF)])
def test_truncated_elements_are_refused(client: httpx.Client, binary: bytes) -> None:
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(binary)}}
    header = orjson.dumps({"inputs": [given]})
    refused = client.post(URL, content=header + binary, headers={HEADER_LENGTH: str(len(header))})
    assert refused.status_code == 400
    assert "4 bytes of length and as many bytes as that for element 0" in refused.json()["error"]


def test_errors_of_the_path_have_the_protocols_form(client: httpx.Client) -> None:
    for path, status in (
        ("/v2/models/other", 404), ("/v2/models/tiny/versions/1/infer", 404), ("/v2/nothing", 404),
        ("/v2/models/other/ready", 404), ("/v2/health/ready", 405),
    ):  # fmt: skip
        refused = client.post(path) if "infer" in path or status == 405 else client.get(path)
        assert (refused.status_code, list(refused.json())) == (status, ["error"]), path
    assert client.get(URL).headers["allow"] == "POST"
    assert client.head("/v2/models/tiny").status_code == 200
    refused = client.post(URL, json=asks(), params={"explain": "1"})
    assert "no query parameter" in refused.json()["error"]
    assert client.post(URL, content=b"", headers={"Content-Encoding": "gzip"}).status_code == 415


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST_BYTES + 1}\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "at most 67,108,864 bytes" in answer


def test_who_announces_much_and_sends_nothing_closes_it_for_nobody(client: httpx.Client, server: Server) -> None:
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST_BYTES}\r\n\r\n"
    with ExitStack() as idle:
        for _ in range(24):
            connection = idle.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(head.encode())
        for _ in range(24):
            with httpx.Client(base_url=server.url) as other:
                assert other.post(URL, json=asks()).status_code == 200


def test_answers_are_stored_and_can_be_labelled(
    served: triton.InferenceServerClient, client: httpx.Client, server: Server
) -> None:
    ids = text(served.infer("tiny", [pixels_input()]).as_numpy("id"))
    items = {"items": [{"id": own, "label": "red"} for own in ids]}

    def labelled() -> bool:
        results = client.post("/feedback", json=items, headers=server.token).json()["results"]
        return {one["result"] for one in results} <= {"accepted", "duplicate"}

    until(labelled)


def test_the_document_has_a_client_that_works(server: Server, tmp_path: Path) -> None:
    program = (ROOT / "docs" / "inference-protocol.md").read_text().split("```python\n")[1].split("```")[0]
    (tmp_path / "a.png").write_bytes(ENCODED[0])
    (tmp_path / "b.png").write_bytes(ENCODED[1])
    program = program.replace("127.0.0.1:3000", server.url.removeprefix("http://")).replace('"digits"', '"tiny"')
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


KSERVE = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, folder):
    images = np.load(folder + "/images.npy")
    encoded = np.load(folder + "/encoded.npy", allow_pickle=True)
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    state = [await client.is_server_live(url), await client.is_server_ready(url),
             await client.is_model_ready(url, "tiny")]
    found = []
    for binary in (True, False):
        for datatype, values in (("UINT8", images), ("BYTES", encoded)):
            one = InferInput("image", list(values.shape), datatype)
            if datatype == "BYTES" and not binary:
                import base64
                one.data = [base64.b64encode(value).decode() for value in values]
            else:
                one.set_data_from_numpy(values, binary_data=binary)
            asked = InferRequest(model_name="tiny", infer_inputs=[one], request_id="mine",
                                 parameters={"binary_data_output": binary})
            answer = await client.infer(url, asked, model_name="tiny")
            assert answer.id == "mine", answer
            found.append({output.name: output.as_numpy().tolist() for output in answer.outputs})
    try:
        await client.infer(url, InferRequest(model_name="tiny", infer_inputs=[InferInput("image", [0], "BYTES", [])]),
                           model_name="tiny")
    except Exception as error:
        refusal = str(error)
    print(json.dumps([state, found, refusal], default=bytes.decode))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def kserve(request: pytest.FixtureRequest) -> Path:
    """A Python with KServe's client, whose pins do not go with ours; made once in pytest's cache."""
    folder = request.config.cache.mkdir("kserve-0.21.0")
    python = folder / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    if not (folder / "ready").exists():
        for command in (
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder],
            [uv, "pip", "install", "--quiet", "--python", python, "kserve==0.21.0"],
        ):
            made = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if made.returncode:
                pytest.skip(f"KServe's client cannot be installed here: {made.stderr.strip()[-200:]}")
        (folder / "ready").touch()
    return python


def test_kserves_client_gets_the_answers_of_predict(
    kserve: Path, client: httpx.Client, server: Server, tmp_path: Path
) -> None:
    alone = predicted(client)
    encoded = np.empty(len(ENCODED), object)
    encoded[:] = ENCODED
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "encoded.npy", encoded, allow_pickle=True)
    command = [kserve, "-c", KSERVE, server.url, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    state, found, refusal = json.loads(done.stdout.splitlines()[-1])
    assert state == [True, True, True]
    assert len(found) == 4
    for one in found:
        check_same(lambda name, one=one: np.array(one[name]), alone)
    assert "the shape [n] of BYTES, n from 1, got [0]" in refusal


def test_a_closed_service_asks_for_a_token(start: Any) -> None:
    closed = start(EQUIPOISE_PREDICT_TOKEN="secret").wait()
    with httpx.Client(base_url=closed.url) as client:
        for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready"):
            assert client.get(path).status_code == 200
        assert client.get("/v2/models/tiny").status_code == 401
        refused = client.post(URL, json=asks())
        assert (refused.status_code, list(refused.json())) == (401, ["error"])
        token = {"Authorization": "Bearer secret"}
        assert client.post(URL, json=asks(), headers=token).status_code == 200
        assert client.get("/v2/models/tiny", headers=token).status_code == 200


def test_the_pixels_of_a_file_are_those_of_the_tensor(tiny_model: Path) -> None:
    bundle = load_bundle(tiny_model)
    assert bundle.input == SPEC
    assert all((read_image(one, SPEC) == pixels).all() for one, pixels in zip(ENCODED, IMAGES, strict=True))
