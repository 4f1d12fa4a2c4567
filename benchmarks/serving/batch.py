"""64 images in one request, beside the in-process loop over the same images on the same core.

    python -m benchmarks.serving.batch [--rounds 5] [--seconds 5] [--images 64] [--connections 1 4] [--out batch.json]

POST /predict/batch, a form of PNG files, beside reading, inferring and deciding in a loop; POST /v2/models/NAME/infer,
one binary tensor of uint8 pixels, beside inferring and deciding. Loops are written both ways: one image after the
other, and as one batch. One worker on one core, wrk on the other. Network tiny, 32×32.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.serving import forms
from benchmarks.serving.contenders import OURS, SERVER_CORE, Running, running
from benchmarks.serving.forms import Request
from benchmarks.serving.load import loaded
from benchmarks.serving.loop import pictures
from benchmarks.serving.pinned import on_core
from benchmarks.serving.tables import closed, markdown, parser_of, spread
from benchmarks.serving.truth import Truth
from benchmarks.untrained import TINY, untrained
from decision import read_image

BATCH, INFER = "/predict/batch", "/v2/…/infer"
BESIDE = {BATCH: "images", INFER: "tensor"}


def main() -> int:
    parser = parser_of("benchmarks.serving.batch", __doc__, rounds=5, seconds=5)
    parser.add_argument("--images", type=int, default=64, help="in one request (default: 64)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4], help="default: 1 and 4")
    given = parser.parse_args()
    loops: list[dict[str, float]] = []
    served: dict[tuple[str, int], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as models:
        model = untrained(Path(models), TINY, 32)
        with running(OURS, model) as server:
            requests = checked(server, Truth(model), pictures(given.images))
            for _ in range(given.rounds):
                plan = {"model": str(model), "n": given.images, "seconds": given.seconds / 2}
                loops.append(on_core("benchmarks.serving.loop", plan, SERVER_CORE))
                for route, request in requests.items():
                    for n in given.connections:
                        seen = loaded(server, request, connections=n, seconds=given.seconds)
                        assert not seen.failed, f"{route}: {seen}"
                        served[route, n].append(given.images * seen.rate)
    print(table(loops, served, given.images), flush=True)
    document: dict[str, Any] = {"loops": loops, "served": [
        {"route": route, "connections": n, "images_per_second": rates} for (route, n), rates in served.items()
    ]}  # fmt: skip
    closed(document, given.out, f"Medians (least, most) of {given.rounds} rounds of {given.seconds:g} s")
    return 0


def checked(server: Running, truth: Truth, images: list[bytes]) -> dict[str, Request]:
    """Both requests, once their answers are right; says on stderr where a route is not there."""
    expected = [truth.probabilities(image, adjusted=True) for image in images]
    batch = forms.many(images)
    answers = json.loads(_asked(server, batch).raise_for_status().content)["answers"]
    assert all(_same(found["probabilities"], own) for found, own in zip(answers, expected, strict=True))

    spec, name = truth.bundle.input, truth.bundle.manifest.name
    shape = [len(images), spec.height, spec.width, spec.channels]
    pixels = b"".join(read_image(image, spec).tobytes() for image in images)
    infer = forms.pixel_tensor(f"/v2/models/{name}/infer", shape, pixels)
    answer = _asked(server, infer)
    if answer.status_code == httpx.codes.NOT_FOUND:
        print(f"left out: {INFER}, which this service does not have", file=sys.stderr)
        return {BATCH: batch}
    outputs = {one["name"]: one["data"] for one in answer.raise_for_status().json()["outputs"]}
    rows = np.reshape(outputs["probabilities"], (len(images), -1)).tolist()
    assert all(_same(dict(zip(own, row, strict=True)), own) for row, own in zip(rows, expected, strict=True))
    return {BATCH: batch, INFER: infer}


def _asked(server: Running, request: Request) -> httpx.Response:
    headers = {"Content-Type": request.kind, **request.headers}
    return httpx.post(f"{server.url}{request.path}", content=request.body, headers=headers, timeout=60)


def _same(found: dict[str, float], expected: dict[str, float]) -> bool:
    """A batch of 64 may round its logits in another way than one of 1."""
    return found.keys() == expected.keys() and all(abs(found[k] - expected[k]) < 1e-5 for k in expected)


def table(loops: list[dict[str, float]], served: dict[tuple[str, int], list[float]], n: int) -> str:
    """A row a route and number of connections: its images a second, and their ratio to both loops of the round."""
    rows = []
    for (route, connections), rates in served.items():
        kinds = [f"{BESIDE[route]}, one by one", f"{BESIDE[route]}, as a batch"]
        ratios = [[own / loop[kind] for own, loop in zip(rates, loops, strict=True)] for kind in kinds]
        rows.append([route, connections, spread(rates, 0), *map(spread, ratios),
                     *(spread([loop[kind] for loop in loops], 0) for kind in kinds)])  # fmt: skip
    header = ["route", "connections", "images/s", "of the loop, one by one", "of the loop, as a batch",
              "loop, one by one, images/s", "loop, as a batch, images/s"]  # fmt: skip
    return markdown(f"{n} images in a request, tiny", header, rows)


if __name__ == "__main__":
    sys.exit(main())
