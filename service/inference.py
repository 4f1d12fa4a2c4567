"""The Open Inference Protocol at /v2: health, metadata, and inference on encoded images or a tensor of pixels."""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from decision import Bundle
from decision.bundle import INPUT_NAME
from service import body, query
from service.connection import DEPARTED
from service.inference_group import OUTPUTS, Group, group_of
from service.inference_request import HEADER_LENGTH
from service.inference_schemas import InputType
from service.limits import MOST_TENSOR_IMAGES
from service.problems import Problem
from service.readiness import require_ready
from service.worker import Worker, as_json, worker_of

MODEL_PATHS = {
    "/v2/models/{name}": ("name",),
    "/v2/models/{name}/versions/{version}": ("name", "version"),
}
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"
MOST_BYTES = 64 << 20
INLINE_BYTES = 256 << 10  # as JSON they hold the event loop up for some milliseconds
JSON_BYTES = 1 << 20  # beside the data, in a request of one image that is larger than MOST_BYTES


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
    worker.batcher.refuse_or_admit(0)
    group, size = await read(request, worker, bundle)
    said, json_length = await worker.batcher.ask(group, size, group.n, departed=request.scope[DEPARTED])
    if json_length is None:
        return Response(said, media_type="application/json")
    return Response(said, headers={HEADER_LENGTH: str(json_length)}, media_type="application/octet-stream")


async def read(request: Request, worker: Worker, bundle: Bundle) -> tuple[Group, int]:
    """What a body asks, and its size. The body itself is not kept while the answer is waited for, unless as pixels."""
    limit = max(MOST_BYTES, worker.settings.max_bytes + JSON_BYTES)
    with worker.reading.body() as charge:
        async with asyncio.timeout(worker.settings.timeout):
            data = await body.limited(request, limit, charge)
            taken = partial(group_of, data, request.headers.get(HEADER_LENGTH), bundle, worker.settings.max_bytes)
            group = taken() if len(data) < INLINE_BYTES else await worker.reading.beside(taken)
    return group, len(data)


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
