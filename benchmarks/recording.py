"""What the policy check, the decision and the recording cost of a request: with and without them, in turns in one run.

    python -m benchmarks.recording [--rounds 15] [--out recording.json]

In process, without HTTP, which would only make the shares smaller. With: decode → infer → look for a new policy →
calibrate → adjust → decide → count → note → respond, and the thread that stores what was noted until all is stored.
Without: decode → infer → respond, with the decision of an earlier answer. Every request is made both ways, in turns;
what is compared is CPU time. The share may be 5% of a request with a 640×480 JPEG, 15% of one with a 3 KB PNG; exit
code 1 where the median of rounds is above.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from benchmarks.untrained import CLASSES, untrained
from training.config import Machine
from training.machine import commit, hardware

STAGE_SECONDS = (0.001, 0.001, 0.0001)
FOLDERS = {"EQUIPOISE_STATE": "state", "PROMETHEUS_MULTIPROC_DIR": "metrics"}
CASES = [("640×480 JPEG", 300, 0.05), ("3 KB PNG", 1_000, 0.15)]
"""Image, requests of a round, and the most that the share may be."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        requests = Requests(worker_in(Path(folder)))
        rows = [measured(requests, *case, options.rounds) for case in CASES]
        stages = requests.stages()
    print("| image | bytes | n | with, µs | without, µs | share of CPU time | of the median time | bound |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| {image} | {bytes:,} | {n:,} | {whole:.0f} | {bare:.0f} | {cpu} | {wall} | {bound:.0%} |".format(**row))
    print("\nOf one answer, µs of CPU:", ", ".join(f"{name} {cost:.1f}" for name, cost in stages.items()), end=".\n")
    made = f"{hardware(Machine(accelerator='cpu'))}, commit {commit()}"
    print(f"\nMedian (least, most) of {options.rounds} rounds; network small, 64×64×3, untrained, 10 classes; {made}.")
    if options.out:
        options.out.write_text(json.dumps({"rows": rows, "stages": stages}, indent=1, ensure_ascii=False) + "\n")
    return int(any(row["share"] > row["bound"] for row in rows))


def worker_in(folder: Path) -> Any:
    """A worker as BentoML makes one, serving an untrained network from a folder of its own."""
    model = untrained(folder, "small", 64)
    for name, below in FOLDERS.items():
        (folder / below).mkdir()
        os.environ[name] = str(folder / below)
    os.environ |= {"EQUIPOISE_MODEL": str(model), "EQUIPOISE_THREADS": "1", "EQUIPOISE_DEVICE": "cpu",
                   "EQUIPOISE_DATABASE_URL": ""}  # fmt: skip

    from service.service import Equipoise  # its metrics bind to the folder that the environment names by now
    from service.start import prepare

    with contextlib.redirect_stdout(io.StringIO()):
        prepare()
    worker = Equipoise().serving
    worker.close()  # it answers on, and its threads, which follow tokens and policies, rest
    return worker


class Requests:
    """The work of a request on one worker, with what is measured and without."""

    def __init__(self, worker: Any) -> None:
        from service.answers import AnswerStore
        from service.database import Database

        self.worker = worker
        manifest = worker.bundle.manifest
        self._store = AnswerStore(Database(worker.settings.database_url), manifest.name, manifest.version, len(CLASSES))
        self._policy = worker.policies.current().policy
        self._logits = worker.network.logits(np.zeros((1, 64, 64, 3), np.uint8))
        self._said = orjson.loads(worker.answering.answers([self._asked(encode("3 KB PNG"))]).found[0])

    def round(self, image: bytes, n: int) -> tuple[list[float], list[float]]:
        """Of n requests with and without: µs of CPU, that of all other threads counted as with; median µs of time."""
        log = self._log()
        answering, batch = self._answering(log), [self._asked(image)]
        ways = [lambda: answering.answers(batch).afterwards(), lambda: self.bare(image)]
        cpu, wall = [0.0, 0.0], np.zeros((2, n))
        process, thread = time.process_time(), time.thread_time()
        for i in range(n):
            for way in (0, 1) if i % 2 else (1, 0):
                begun = time.thread_time(), time.perf_counter()
                ways[way]()
                cpu[way] += time.thread_time() - begun[0]
                wall[way, i] = time.perf_counter() - begun[1]
        log.close()
        cpu[0] += (time.process_time() - process) - (time.thread_time() - thread)
        return [1e6 * seconds / n for seconds in cpu], (1e6 * np.median(wall, axis=1)).tolist()

    def bare(self, image: bytes) -> bytes:
        """Decode, infer, and an earlier answer as JSON."""
        from decision import read_image

        pixels = read_image(image, self.worker.bundle.input, max_pixels=self.worker.settings.max_pixels)
        self.worker.network.logits(pixels[None])
        return orjson.dumps(self._said)

    def stages(self) -> dict[str, float]:
        """Microseconds of CPU of each part, by itself."""
        from service.schemas import uuid7

        policy, logits = self._policy, self._logits
        calibrated = policy.calibration.logits(logits)
        decisions, log = policy.decide_calibrated(calibrated), self._log()
        ids = iter([[uuid7()] for _ in range(6_000)])

        def note() -> None:
            log.note(next(ids), 1, decisions, calibrated)

        def count() -> None:
            self.worker.metrics.answered(policy, decisions, calibrated.argmax(axis=1), STAGE_SECONDS)

        return {
            "policy check": cost(self.worker.policies.current),
            "calibration and decision": cost(lambda: policy.decide_calibrated(policy.calibration.logits(logits))),
            "metrics": cost(count),
            "note": cost(note, calls=900),  # fewer than wake the thread
            "note and store": cost(note, after=log.close),
        }

    def _asked(self, image: bytes) -> Any:
        from service.asked import OneImage

        return OneImage(image)

    def _answering(self, log: Any) -> Any:
        from service.answering import Answering

        worker = self.worker
        return Answering(worker.bundle, worker.network, worker.policies, worker.metrics, log,
                         max_pixels=worker.settings.max_pixels, threads=1)  # fmt: skip

    def _log(self) -> Any:
        from service.answer_log import AnswerLog

        return AnswerLog(self._store, leads=lambda: False, dropped=_refuse)


def _refuse(n: int) -> None:
    raise RuntimeError(f"{n} answers were dropped")


def measured(requests: Requests, image: str, n: int, bound: float, rounds: int) -> dict[str, Any]:
    """Rounds of one image, each with and without, the order in turns."""
    encoded = encode(image)
    found = [requests.round(encoded, n) for _ in range(rounds + 1)][1:]  # the first warms up
    cpu, wall = np.array(found).transpose(1, 0, 2)  # (rounds, ways)
    shares = 1 - cpu[:, 1] / cpu[:, 0]
    whole, bare = np.median(cpu, axis=0)
    return {
        "image": image, "bytes": len(encoded), "n": n, "whole": whole, "bare": bare, "bound": bound,
        "share": float(np.median(shares)), "cpu": spread(shares), "wall": spread(1 - wall[:, 1] / wall[:, 0]),
    }  # fmt: skip


def spread(shares: np.ndarray) -> str:
    return f"{np.median(shares):.1%} ({shares.min():.1%}, {shares.max():.1%})"


def cost(call: Callable[[], object], calls: int = 5_000, after: Callable[[], object] = int) -> float:
    """Microseconds of CPU of one call."""
    begun = time.process_time()
    for _ in range(calls):
        call()
    after()
    return 1e6 * (time.process_time() - begun) / calls


def encode(image: str) -> bytes:
    """Clouds with a little noise as JPEG, as a camera's; noise as PNG."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    if image.endswith("JPEG"):
        clouds = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize((640, 480), Image.BICUBIC)
        noisy = np.clip(np.asarray(clouds) + rng.normal(0, 4, (480, 640, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    else:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
