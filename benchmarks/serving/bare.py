"""A bare ASGI app: what is left when a server does nothing but read, decode, infer and answer.

uvicorn benchmarks.serving.bare:app, with BENCH_MODEL naming a bundle.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson

from decision import load_bundle, read_image, softmax
from decision.bundle import INPUT_NAME, OUTPUT_NAME

bundle = load_bundle(os.environ["BENCH_MODEL"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(str(bundle.network), options, providers=["CPUExecutionProvider"])


def answer(image: bytes) -> bytes:
    """The most probable class and the network's own probabilities."""
    pixels = read_image(image, bundle.input)
    logits = session.run([OUTPUT_NAME], {INPUT_NAME: pixels[None]})[0]
    probabilities = softmax(logits)[0]
    by_class = dict(zip(bundle.classes, probabilities.tolist(), strict=True))
    return orjson.dumps({"label": bundle.classes[int(np.argmax(logits))], "probabilities": by_class})


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """POST an image to any path; HEAD and GET answer 204."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] != "POST":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    said = answer(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})
