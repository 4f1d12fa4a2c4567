"""The same images without a server: `python -m benchmarks.serving.loop` reads a plan.

Reads, infers, calibrates, adjusts and decides as Equipoise does; no HTTP, no JSON, no counting, nothing kept.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.serving.pinned import given
from benchmarks.untrained import picture
from decision import load_bundle, read_image
from decision.bundle import INPUT_NAME, OUTPUT_NAME

KINDS = ("images, one by one", "images, as a batch", "tensor, one by one", "tensor, as a batch")


def pictures(n: int) -> list[bytes]:
    """PNG files of 32×32 pixels, 3 KB each, no two alike."""
    return [picture("PNG", 32, 32, seed) for seed in range(n)]


def rates(model: str, n: int, seconds: float) -> dict[str, float]:
    """Images a second of each of KINDS: `n` images, again and again."""
    bundle, images = load_bundle(Path(model)), pictures(n)
    policy = bundle.policy(bundle.manifest.policy)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(bundle.network), options, providers=["CPUExecutionProvider"])

    def decide(pixels: np.ndarray) -> None:
        policy.decide(session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0])

    def read(some: Sequence[bytes]) -> np.ndarray:
        return np.stack([read_image(image, bundle.input) for image in some])

    tensor = read(images)
    ways: tuple[Callable[[], object], ...] = (
        lambda: [decide(read([image])) for image in images],
        lambda: decide(read(images)),
        lambda: [decide(pixels[None]) for pixels in tensor],
        lambda: decide(tensor),
    )
    return {kind: n * _calls_a_second(way, seconds) for kind, way in zip(KINDS, ways, strict=True)}


def _calls_a_second(call: Callable[[], object], seconds: float) -> float:
    call()
    calls, begun = 0, time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        call()
        calls += 1
    return calls / (now - begun)


if __name__ == "__main__":
    print(json.dumps(rates(**given())))
