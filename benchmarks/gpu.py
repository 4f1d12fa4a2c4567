"""The service on a GPU beside a raw onnxruntime loop with the same session: provider, answers, throughput.

    python -m benchmarks.gpu [--network resnet18] [--side 224] [--workers 4] [--clients 8] [--rounds 5] [--seconds 5]

Provider: what onnxruntime took, read from the service's log. Answers: of the service on the GPU beside those of one on
the CPU, for the same images; at most 1e-3 apart. Throughput, in turns: the loop runs one batch of 64 after the other
from memory in one process; clients send the same 64 images to /v2 as one binary tensor, each from a process of its own.
Without a GPU all of it runs on the CPU, and says so.
"""

import argparse
import http.client
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import orjson

from benchmarks.serving.contenders import free_port
from benchmarks.untrained import untrained
from decision import load_bundle
from decision.images import Images
from service.network import CUDA, Network
from training.config import Machine
from training.machine import commit, hardware

BATCH = 64
LEAST_RATIO, MOST_APART = 0.8, 1e-3


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--workers", type=int, default=4, help="of the service; they share the GPU")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, given.side, given.side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        model = untrained(Path(folder), given.network, given.side)
        network = Network(load_bundle(model), "auto", len(os.sched_getaffinity(0)))
        with serving(model, "cpu", 1) as url:
            on_cpu = probabilities(url, given.network, pixels)
        with serving(model, "auto", given.workers) as url:
            apart = float(np.abs(probabilities(url, given.network, pixels) - on_cpu).max())
            rates = [(looped(network, pixels, given.seconds), asked(url, given, pixels)) for _ in range(given.rounds)]
    ratios = [ours / raw for raw, ours in rates]
    on = f"{network.provider}" + ("" if network.provider == CUDA else ": there is no GPU here")
    print(f"""
| {given.network} at {given.side}, batches of {BATCH} | |
|---|---|
| provider | {on} |
| probabilities, GPU − CPU, largest | {apart:.1e} (at most {MOST_APART:.0e}) |
| onnxruntime alone, images/s | {statistics.median(raw for raw, _ in rates):,.0f} |
| through /v2, images/s | {statistics.median(ours for _, ours in rates):,.0f} |
| ratio | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; at least {LEAST_RATIO}) |

Medians of {given.rounds} rounds of {given.seconds:g} s, {given.workers} workers, {given.clients} clients; \
{hardware(Machine())}{_gpu()}, commit {commit()}.""")
    return 0 if apart <= MOST_APART and statistics.median(ratios) >= LEAST_RATIO else 1


@contextmanager
def serving(model: Path, device: str, workers: int) -> Iterator[str]:
    """A service of its own; the URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-m", "service", "--port", str(port), "--workers", str(workers)]
        environment = os.environ | {"EQUIPOISE_MODEL": str(model), "EQUIPOISE_STATE": state,
                                    "EQUIPOISE_DEVICE": device}  # fmt: skip
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            _wait(f"http://127.0.0.1:{port}/readyz", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def body_of(pixels: Images) -> tuple[bytes, dict[str, str]]:
    """An inference request for a binary tensor, and its headers."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape,
              "parameters": {"binary_data_size": pixels.nbytes}}  # fmt: skip
    wanted = [{"name": "probabilities", "parameters": {"binary_data": False}}]
    head = orjson.dumps({"inputs": [tensor], "outputs": wanted})
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return head + pixels.tobytes(), headers


def probabilities(url: str, model: str, pixels: Images) -> np.ndarray:
    """What the service answers, `(n, K)`."""
    body, headers = body_of(pixels)
    answer = httpx.post(f"{url}/v2/models/{model}/infer", content=body, headers=headers, timeout=120)
    [output] = answer.raise_for_status().json()["outputs"]
    return np.reshape(output["data"], output["shape"])


def looped(network: Network, pixels: Images, seconds: float) -> float:
    """Images a second, in this process."""
    return BATCH * _rate(lambda: network.logits(pixels), seconds)


def asked(url: str, given: argparse.Namespace, pixels: Images) -> float:
    """Images a second of all clients."""
    with multiprocessing.get_context("spawn").Pool(given.clients) as pool:
        arguments = [(url, given.network, pixels, given.seconds)] * given.clients
        return BATCH * sum(pool.starmap(one_client, arguments))


def one_client(url: str, model: str, pixels: Images, seconds: float) -> float:
    """Requests a second of one connection."""
    body, headers = body_of(pixels)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def ask() -> None:
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said

    return _rate(ask, seconds)


def _rate(do: Callable[[], object], seconds: float) -> float:
    """Times a second, after a few that do not count."""
    for _ in range(3):
        do()
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        do()
        n += 1
    return n / (time.perf_counter() - begun)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, "the service has ended"
        assert time.monotonic() < deadline, "the service has not started"
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)


def _gpu() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return ", " + subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
