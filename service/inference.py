"""The Open Inference Protocol at /v2: health, metadata, and inference on encoded images or a tensor of pixels."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from decision import Bundle, ImageError
from decision.bundle import INPUT_NAME
from decision.images import Pixels
from service import body, query
from service.asked import Decided, Images
from service.connection import DEPARTED
from service.inference_protocol import (
    HEADER_LENGTH,
    Datatype,
    Tensor,
    Values,
    answer_of,
    malformed,
    request_of,
)
from service.inference_schemas import InputType
from service.limits import MOST_TENSOR_IMAGES
from service.problems import Problem
from service.readiness import require_ready
from service.worker import as_json, worker_of

MODEL_PATHS = {
    "/v2/models/{name}": ("name",),
    "/v2/models/{name}/versions/{version}": ("name", "version"),
}
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"
MOST_BYTES = 64 << 20
INLINE_BYTES = 256 << 10  # as JSON they hold the event loop up for some milliseconds
JSON_BYTES = 1 << 20  # beside the data, in a request of one image that is larger than MOST_BYTES


class Output(NamedTuple):
    """An output of n images: per class where `wide`, else one value for each."""

    datatype: Datatype
    wide: bool
    values: Callable[[Decided, slice], Values]


# FP64: what a threshold is compared with, so that a client who compares again finds the same labels and flags.
OUTPUTS: Mapping[str, Output] = {
    "probabilities": Output("FP64", True, lambda decided, rows: decided.decisions.probabilities[rows]),
    "label": Output("BYTES", False, lambda decided, rows: _labels(decided, rows)),
    "abstained": Output("BOOL", False, lambda decided, rows: decided.decisions.labels[rows] < 0),
    "flags": Output("BOOL", True, lambda decided, rows: decided.decisions.flags[rows]),
    "id": Output("BYTES", False, lambda decided, rows: [own.encode() for own in decided.ids[rows]]),
}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The images of one inference request, encoded or as a tensor; `outputs` says which it wants, and which binary."""

    n: int
    encoded: Sequence[bytes]
    tensor: Images | None
    id: str | None
    outputs: Mapping[str, bool]
    bundle: Bundle

    def images(self, decoded: Iterator[Pixels | ImageError]) -> Images:
        if self.tensor is not None:
            return self.tensor
        found: list[Pixels] = []
        for i, pixels in enumerate(list(islice(decoded, self.n))):
            if isinstance(pixels, ImageError):
                raise type(pixels)(f"image {i}: {pixels}")
            found.append(pixels)
        return np.stack(found)

    def said(self, decided: Decided, first: int) -> tuple[bytes, int | None]:
        """The response's body, and the length of its JSON part where binary data follow it."""
        manifest, rows = self.bundle.manifest, slice(first, first + self.n)
        known = {"model_name": manifest.name, "model_version": manifest.version}
        known |= {} if self.id is None else {"id": self.id}
        parameters = {"policy_revision": decided.revision, "model": decided.model}
        tensors = []
        for name in self.outputs:
            output = OUTPUTS[name]
            shape = (self.n, len(decided.policy.classes)) if output.wide else (self.n,)
            tensors.append(Tensor(name, output.datatype, shape, output.values(decided, rows)))
        return answer_of({**known, "parameters": parameters}, tensors, self.outputs)


def _labels(decided: Decided, rows: slice) -> list[bytes]:
    """Empty where abstained."""
    return [(decided.policy.label(label) or "").encode() for label in decided.decisions.labels[rows].tolist()]


async def server(request: Request) -> Response:
    """What serves."""
    return as_json({"name": "equipoise", "version": request.app.version, "extensions": EXTENSIONS})


async def live(_: Request) -> Response:
    """The process answers."""
    return as_json({"live": True})


async def ready(request: Request) -> Response:
    """This worker would answer."""
    require_ready(worker_of(request))
    return as_json({"ready": True})


async def model_ready(request: Request) -> Response:
    """The model would be inferred from."""
    name = _bundle(request).manifest.name
    require_ready(worker_of(request))
    return as_json({"name": name, "ready": True})


async def model(request: Request) -> Response:
    """What the model takes and gives."""
    await worker_of(request).access.require(request, _route(request, "GET"))
    bundle = _bundle(request)
    spec, manifest, classes = bundle.input, bundle.manifest, bundle.classes
    datatypes: list[InputType] = ["UINT8", "BYTES"]
    taken = {"name": INPUT_NAME, "datatype": "UINT8", "shape": [-1, spec.height, spec.width, spec.channels]}
    given = [
        {"name": name, "datatype": output.datatype, "shape": [-1, len(classes)] if output.wide else [-1]}
        for name, output in OUTPUTS.items()
    ]
    parameters = {"model": bundle.id, "classes": classes, "image_datatypes": datatypes,
                  "most_images": MOST_TENSOR_IMAGES}  # fmt: skip
    return as_json({"name": manifest.name, "versions": [manifest.version], "platform": PLATFORM,
                    "inputs": [taken], "outputs": given, "parameters": parameters})  # fmt: skip


async def infer(request: Request) -> Response:
    """Classify the images of one tensor: all of them, under one policy, or none."""
    worker = worker_of(request)
    await worker.access.require(request, _route(request, "POST", "/infer"))
    bundle = _bundle(request)
    query.only(request)
    if (encoding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise Problem(415, "unsupported-media-type", f"expected no Content-Encoding, got {encoding[:40]!r}")
    limit = max(MOST_BYTES, worker.settings.max_bytes + JSON_BYTES)
    announced = request.headers.get("content-length", "")
    with worker.batcher.expecting(min(int(announced), limit) if announced.isdecimal() else limit):
        async with asyncio.timeout(worker.settings.timeout):
            data = await body.limited(request, limit)
        read = partial(_group, data, request.headers.get(HEADER_LENGTH), bundle, worker.settings.max_bytes)
        group = read() if len(data) < INLINE_BYTES else await asyncio.to_thread(read)
    said, json_length = await worker.batcher.ask(group, len(data), group.n, departed=request.scope[DEPARTED])
    if json_length is None:
        return Response(said, media_type="application/json")
    return Response(said, headers={HEADER_LENGTH: str(json_length)}, media_type="application/octet-stream")


def _route(request: Request, method: str, tail: str = "") -> str:
    *_, versioned = MODEL_PATHS
    path = versioned if "version" in request.path_params else next(iter(MODEL_PATHS))
    return f"{method} {path}{tail}"


def _bundle(request: Request) -> Bundle:
    """That of the model that a path names; Problem 404 for another."""
    bundle, named = worker_of(request).bundle, request.path_params
    manifest = bundle.manifest
    for what, own in (("name", manifest.name), ("version", manifest.version)):
        if named.get(what, own) != own:
            raise Problem(404, "not-found", f"expected the model {what} {own!r}, got {named[what][:100]!r}")
    return bundle


def _group(data: bytes, header_length: str | None, bundle: Bundle, most_bytes: int) -> Group:
    """What a body asks of this model; Problem 400 or 413 for what it does not take or give."""
    asked = request_of(data, header_length)
    given, spec = asked.input, bundle.input
    if given.name != INPUT_NAME:
        raise malformed(f"expected the input {INPUT_NAME!r}, got {given.name[:40]!r}")
    shapes = {"BYTES": (), "UINT8": (spec.height, spec.width, spec.channels)}
    if given.datatype not in shapes:
        raise malformed(f"expected the datatype UINT8 or BYTES, got {given.datatype[:40]!r}")
    one = shapes[given.datatype]
    if len(given.shape) != 1 + len(one) or given.shape[1:] != one or not given.shape[0]:
        expected = ", ".join(map(str, ("n", *one)))
        raise malformed(f"expected the shape [{expected}] of {given.datatype}, n from 1, got {list(given.shape)}")
    n = given.shape[0]
    if n > MOST_TENSOR_IMAGES:
        raise Problem(413, "body-too-large", f"expected at most {MOST_TENSOR_IMAGES} images in a request, got {n:,}")
    if unknown := [name for name in asked.outputs or () if name not in OUTPUTS]:
        raise malformed(f"expected outputs out of {', '.join(OUTPUTS)}, got {unknown[0][:40]!r}")
    outputs = asked.outputs or dict.fromkeys(OUTPUTS, asked.binary)
    if given.datatype == "UINT8":
        return Group(n, (), given.uint8(), asked.id, outputs, bundle)
    encoded = given.bytes_elements()
    for i, image in enumerate(encoded):
        if not image:
            raise malformed(f"image {i}: expected an encoded image, got no bytes")
        if len(image) > most_bytes:
            raise Problem(413, "image-too-large",
                          f"image {i}: expected at most {most_bytes:,} bytes, got {len(image):,}")  # fmt: skip
    return Group(n, encoded, None, asked.id, outputs, bundle)
