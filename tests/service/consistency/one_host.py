"""One host: writers race, readers keep every answer, and beside them there is load."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from decision import load_bundle, save_bundle
from tests.conftest import channel_means, holdout, manifest
from tests.service.conftest import Server
from tests.service.consistency.clients import Writers, in_processes
from tests.service.consistency.laws import IMAGES, check_answers, check_writes, history


def tiny(folder: Path) -> Path:
    return save_bundle(folder, manifest(), network=channel_means(), holdout=holdout(), report="").parent


def on_one_host(folder: Path, *, seconds: float, workers: int, writers: int, readers: int = 3) -> dict[str, Any]:
    """The laws of one host, under load from wrk where it is installed."""
    model = tiny(folder / "models")
    server = Server(model, folder / "state", workers=workers).wait(120)
    try:
        until = time.monotonic() + seconds
        loaded = _load(server.port, seconds, folder)
        reading = in_processes([(server.port, seed) for seed in range(readers)], until)
        writing = Writers(server.port, until, writers)
        seen = reading()
        writing.join()
        written, stored = writing.written, history(server.url)
        assert len(stored) == 1 + len(written)
        check_writes(written, stored)
        check_answers(load_bundle(model), seen, written, stored)
        took = np.array([1000 * (w.ended - w.begun) for w in written])
        return {"seconds": seconds, "workers": workers, "writers": writers, "revisions": len(stored),
                "stale": writing.refused.count(412), "answers checked": len(seen),
                "wrk": loaded and loaded.communicate()[0],
                "PUT ms": {"p50": np.median(took), "p99": np.quantile(took, 0.99)}}  # fmt: skip
    finally:
        server.stop()


def _load(port: int, seconds: float, folder: Path) -> subprocess.Popen[str] | None:
    """Load that nobody reads the answers of; wrk says how many there were."""
    if shutil.which("wrk") is None:
        return None
    image, script = folder / "image.png", folder / "post.lua"
    image.write_bytes(IMAGES[0])
    script.write_text(
        f'wrk.method="POST"; wrk.body=io.open("{image}","rb"):read("*a"); wrk.headers["Content-Type"]="image/png"\n'
        "done = function(s) io.write(string.format('%d requests, %d not 200', s.requests, s.errors.status)) end\n"
    )
    command = ["wrk", "-t1", "-c4", f"-d{seconds:.0f}s", "-s", str(script), f"http://127.0.0.1:{port}/predict"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
