"""The stage: a real service with two workers and a real Prometheus with our rules, its windows shortened."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.rehearsal.traffic import TOKEN
from deploy import prometheus
from deploy.windows import Timing

SECONDS_TO_START = 90


@dataclass(frozen=True)
class Stage:
    """Where the service and Prometheus answer."""

    service: str
    prometheus: str

    def series(
        self, expr: str, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Labels and (time, value) of each series of a range query."""
        form = {"query": expr, "start": start, "end": end, "step": step}
        answer = httpx.post(f"{self.prometheus}/api/v1/query_range", data=form, timeout=60).raise_for_status().json()
        return [(one["metric"], [(float(t), float(v)) for t, v in one["values"]]) for one in answer["data"]["result"]]

    def settle(self) -> None:
        """Wait until Prometheus has met the service, and forgotten that it had not."""
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._now("equipoise_model_info") or self._now("ALERTS"):
            if time.monotonic() > deadline:
                raise SystemExit("Prometheus does not come to rest")
            time.sleep(0.5)

    def _now(self, expr: str) -> list[Any]:
        answer = httpx.post(f"{self.prometheus}/api/v1/query", data={"query": expr}, timeout=60).raise_for_status()
        return list(answer.json()["data"]["result"])


@contextmanager
def stage(model: Path, timing: Timing) -> Iterator[Stage]:
    """Both, started and ready; ended when the block is left."""
    if shutil.which("prometheus") is None:
        raise SystemExit("expected Prometheus on the path; Debian has it as the package prometheus")
    ports = [_free_port() for _ in range(2)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("EQUIPOISE_", "BENTOML_", "PROMETHEUS_"))
        }
        environment |= {"EQUIPOISE_STATE": name, "EQUIPOISE_ADMIN_TOKEN": TOKEN}
        service = [sys.executable, "-m", "service", "--model", str(model), "--port", str(ports[0]), "--workers", "2"]
        configuration = prometheus.configuration(timing, [f"127.0.0.1:{ports[0]}"], alertmanagers=())
        files = {
            "rules": prometheus.rules(timing),
            "alerts": prometheus.alert_rules(timing),
            "prometheus": configuration,
        }
        for file, text in files.items():
            (folder / f"{file}.yml").write_text(text)
        watcher = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address=127.0.0.1:{ports[1]}", "--log.level=error"]  # fmt: skip
        found = Stage(*(f"http://127.0.0.1:{port}" for port in ports))
        with (_process(service, environment, lambda: _answers(f"{found.service}/readyz")),
              _process(watcher, environment, lambda: _answers(f"{found.prometheus}/-/ready"))):  # fmt: skip
            yield found


@contextmanager
def _process(command: list[str], environment: dict[str, str], ready: Callable[[], bool]) -> Iterator[Any]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command[:3])} has not started")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
