"""The servers that are compared: how each is started, asked, and what it must answer."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

SERVER_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 90.0
UVICORN = (sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log",
           "--log-level", "error", "--host", "127.0.0.1", "--port")  # fmt: skip
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


@dataclass(frozen=True)
class Contender:
    """`command` and the port start it; `multipart` is how it takes an image; `workers` adds its option for them."""

    name: str
    command: tuple[str, ...]
    multipart: bool = False
    after: tuple[str, ...] = ()
    workers: tuple[str, ...] = ("--workers",)
    environment: dict[str, str] = field(default_factory=dict)


BARE = Contender("bare ASGI", UVICORN, after=("benchmarks.serving.bare:app",))
OURS = Contender("Equipoise", (sys.executable, "-m", "service", "--port"))
CONTENDERS = (
    BARE,
    OURS,
    Contender("FastAPI, multipart", UVICORN, multipart=True, after=("benchmarks.serving.fast:app",)),
    Contender("BentoML quickstart", (sys.executable, "-m", "bentoml", "serve",
                                     "benchmarks.serving.quickstart:Quickstart", "--port"), multipart=True, workers=()),
)  # fmt: skip


@dataclass(frozen=True)
class Running:
    """A contender that answers at `url`."""

    contender: Contender
    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(contender: Contender, model: Path, *, workers: int = 1) -> Iterator[Running]:
    """Start it on its core (with several workers: on both); end it when the block is left."""
    port = _free_port()
    many = (*contender.workers, str(workers)) if contender.workers else ()
    command = [*contender.command, str(port), *many, *contender.after]
    with tempfile.TemporaryDirectory() as state:
        environment = os.environ | MALLOC | {
            "BENCH_MODEL": str(model), "EQUIPOISE_MODEL": str(model), "EQUIPOISE_STATE": state,
            "EQUIPOISE_THREADS": "1", "EQUIPOISE_DEVICE": "cpu", "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1",
        } | contender.environment  # fmt: skip
        pinned = ["taskset", "-c", SERVER_CORE, *command] if workers == 1 else command
        process = subprocess.Popen(pinned, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = Running(contender, f"http://127.0.0.1:{port}", process)
            _wait(found)
            yield found
        finally:
            process.terminate()
            process.wait(60)


def _wait(running: Running) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{running.contender.name} has not started")
        try:
            if httpx.get(f"{running.url}/readyz", timeout=2).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
