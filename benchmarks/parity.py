"""Are a running service's answers those that decision/ gives offline?

    python -m benchmarks.parity DATA --model models/solar --url http://127.0.0.1:3000 [--images 200]

Sends test images as PNG, each on a connection of its own so that every worker gets some, and compares label
and probabilities with onnxruntime and the policy in force here. Exit code 1 where a label differs or a
probability by more than 1e-5.
"""

import argparse
import io
import sys

import httpx
import numpy as np
from PIL import Image

from decision import load_bundle
from training.dataset import load_dataset
from training.export import onnx_logits
from training.splits import split

TOLERANCE = 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", required=True)
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()

    bundle = load_bundle(given.model)
    config = httpx.get(f"{given.url}/config").raise_for_status().json()
    policy = bundle.policy(config["policy"])
    spec = bundle.input
    dataset = load_dataset(given.data, size=(spec.height, spec.width))
    rows = np.random.default_rng(0).permutation(split(dataset, None, bundle.manifest.seed).test)[: given.images]
    offline = policy.decide(onnx_logits(bundle.network.read_bytes(), dataset.images[rows]))

    wrong, largest = 0, 0.0
    for i, row in enumerate(rows):
        answer = httpx.post(f"{given.url}/predict", files={"image": png(dataset.images[row])}).raise_for_status().json()
        wrong += answer["label"] != policy.label(offline.labels[i])
        came = np.array([answer["probabilities"][name] for name in bundle.classes])
        largest = max(largest, float(np.abs(came - offline.probabilities[i]).max()))
    print(f"{len(rows)} images under revision {config['revision']} of {bundle.id}: {wrong} labels differ, "
          f"largest difference of a probability {largest:.1e}")  # fmt: skip
    return int(wrong > 0 or largest > TOLERANCE)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
