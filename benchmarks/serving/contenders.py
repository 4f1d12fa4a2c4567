"""The servers that are compared: how each is started, asked, and what it must answer."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.serving import forms
from benchmarks.serving.forms import Request

SERVER_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 90.0
ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENTS = Path(".cache/peers")
UVICORN = ("{python}", "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level",
           "error", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}")  # fmt: skip
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}


@dataclass(frozen=True)
class Contender:
    """`command` starts it, with `{python}`, `{port}` and `{workers}` filled in.

    `request` is how it takes an image, `probabilities` where they are in its answer, `ready` what it answers without an
    error once it serves, `environment` whose Python it runs under: ours where there is no name.
    """

    name: str
    command: tuple[str, ...]
    request: Callable[[bytes], Request] = forms.raw
    probabilities: Callable[[bytes], dict[str, float]] = forms.of_object
    ready: str = "/readyz"
    environment: str = ""


def _peer(module: str, *arguments: str) -> tuple[str, ...]:
    return ("{python}", "-m", f"benchmarks.serving.peers.{module}", "{port}", *arguments)


BARE = Contender("bare ASGI", (*UVICORN, "benchmarks.serving.bare:app"))
REFUSING = Contender("bare ASGI that refuses", (*UVICORN, "benchmarks.serving.refusing:app"))
OURS = Contender("Equipoise", ("{python}", "-m", "service", "--port", "{port}", "--workers", "{workers}"))
CONTENDERS = (
    BARE,
    OURS,
    Contender("FastAPI, multipart", (*UVICORN, "benchmarks.serving.fast:app"), forms.multipart, ready="/docs"),
    Contender("BentoML quickstart", ("{python}", "-m", "bentoml", "serve", "benchmarks.serving.quickstart:Quickstart",
                                     "--port", "{port}"), forms.multipart),
    Contender("LitServe", _peer("litserve_api", "{workers}"), forms.multipart, ready="/health", environment="litserve"),
    Contender("MLServer, in process", _peer("mlserver_runtime", "0"), forms.base64_tensor, forms.of_string_tensor,
              "/v2/models/network/ready", "mlserver"),
    Contender("MLServer", _peer("mlserver_runtime", "{workers}"), forms.base64_tensor, forms.of_string_tensor,
              "/v2/models/network/ready", "mlserver"),
    Contender("Triton, Python backend", _peer("triton_model", "{workers}"), forms.bytes_tensor, forms.of_binary_tensor,
              "/v2/models/network/ready", "triton"),
)  # fmt: skip


@dataclass(frozen=True)
class Running:
    """A contender that answers at `url`."""

    contender: Contender
    url: str
    process: subprocess.Popen[bytes]


def python_of(environment: str, environments: Path) -> str:
    """The interpreter of an environment: ours where there is no name."""
    return str((environments / environment / "bin" / "python").absolute()) if environment else sys.executable


def chosen(only: Sequence[str] | None, environments: Path) -> list[Contender]:
    """The bare app and those that were named, or all; says on stderr who is left out for want of an environment."""
    found = []
    for one in CONTENDERS:
        if only and one is not BARE and one.name not in only:
            continue
        if Path(python_of(one.environment, environments)).exists():
            found.append(one)
        else:
            print(f"left out: {one.name}, which has no environment in {environments}; "
                  f"python -m benchmarks.serving.peers --only {one.environment} makes it", file=sys.stderr)  # fmt: skip
    return found


@contextmanager
def running(
    contender: Contender, model: Path, *, workers: int = 1, environments: Path = ENVIRONMENTS
) -> Iterator[Running]:  # fmt: skip
    """Start it on its core (with several workers: on both); end it and all it started when the block is left.

    Also where this process is told to end: SIGTERM becomes an exit that leaves the block.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port = free_port()
    filled = {"python": python_of(contender.environment, environments), "port": str(port), "workers": str(workers)}
    command = [part.format_map(filled) for part in contender.command]
    pinned = ["taskset", "-c", SERVER_CORE, *command] if workers == 1 else command
    with tempfile.TemporaryDirectory() as state, (Path(state) / "log").open("w+b") as log:
        environment = os.environ | MALLOC | {
            "BENCH_MODEL": str(model), "EQUIPOISE_MODEL": str(model), "EQUIPOISE_STATE": state,
            "EQUIPOISE_THREADS": "1", "EQUIPOISE_DEVICE": "cpu", "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TMPDIR": state,
        }  # fmt: skip
        process = subprocess.Popen(pinned, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            found = Running(contender, f"http://127.0.0.1:{port}", process)
            _wait(found, Path(log.name))
            yield found
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(running: Running, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{running.contender.name} has not started:\n{log.read_text(errors='replace')[-2000:]}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.url}{running.contender.ready}", timeout=2).is_success:
                return
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
