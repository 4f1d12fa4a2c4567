"""A real Prometheus on a free port of the loopback, and what its API answers."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import prometheus
from deploy.windows import Timing
from tests.deploy.replicas import Labels

SECONDS_TO_START = 30


def require(tool: str) -> str:
    """The path of a tool, or a skip that says which is missing."""
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


@dataclass(frozen=True)
class Prometheus:
    """One that answers at its client's address."""

    client: httpx.Client

    def ask(self, path: str, **form: Any) -> Any:
        """The data of an answer; an error of PromQL fails with what Prometheus says."""
        answer = self.client.post(f"/api/v1/{path}", data=form).json()
        assert answer["status"] == "success", f"{path} {form}: {answer.get('error')}"
        return answer["data"]

    def vector(self, expr: str, at: float) -> dict[Labels, float]:
        """Values of an instant query by labels, without the name."""
        return {
            _labels(one["metric"]): float(one["value"][1]) for one in self.ask("query", query=expr, time=at)["result"]
        }

    def matrix(self, expr: str, start: float, end: float, step: float) -> dict[Labels, list[float]]:
        """Values of a range query by labels."""
        found = self.ask("query_range", query=expr, start=start, end=end, step=step)["result"]
        return {_labels(one["metric"]): [float(value) for _, value in one["values"]] for one in found}

    def now(self, expr: str) -> float:
        """The sum of an expression's values now; 0 where it has none."""
        return sum(self.vector(expr, time.time()).values())

    def groups(self) -> list[dict[str, Any]]:
        """Groups of rules and how their last evaluation went."""
        return list(self.client.get("/api/v1/rules").json()["data"]["groups"])

    def evaluated(self) -> dict[str, float]:
        """When the last evaluation that is over began, by group."""
        return {group["name"]: datetime.fromisoformat(group["lastEvaluation"]).timestamp() for group in self.groups()}

    def failures(self) -> list[str]:
        """What rules could not be evaluated, and why."""
        return [
            f"{rule['name']}: {rule['lastError']}"
            for group in self.groups()
            for rule in group["rules"]
            if rule.get("lastError")
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts."""
        return list(self.client.get("/api/v1/alerts").json()["data"]["alerts"])

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        """What the condition gives as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
            time.sleep(0.1)
        return found


def _labels(metric: dict[str, str]) -> Labels:
    return tuple(sorted((key, value) for key, value in metric.items() if key != "__name__"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(config: Path, storage: Path) -> Iterator[Prometheus]:
    """Prometheus with a configuration and a storage folder, ready; ended when the block is left."""
    port = free_port()
    options = {"config.file": config, "storage.tsdb.path": storage, "web.listen-address": f"127.0.0.1:{port}",
               "storage.tsdb.retention.time": "100y", "log.level": "error"}  # fmt: skip
    command = [require("prometheus"), *(f"--{key}={value}" for key, value in options.items())]
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    with (storage.parent / "prometheus.log").open("w") as log, client:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            found = Prometheus(client)
            found.wait(lambda: process.poll() is None and _ready(client), SECONDS_TO_START)
            yield found
        finally:
            process.terminate()
            process.wait(30)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def watching(folder: Path, targets: Sequence[str], timing: Timing) -> Iterator[Prometheus]:
    """Prometheus with our rules and alerts, windows as `timing` has them, that scrapes `host:port` targets."""
    (folder / "rules.yml").write_text(prometheus.rules(timing))
    (folder / "alerts.yml").write_text(prometheus.alert_rules(timing))
    (folder / "prometheus.yml").write_text(prometheus.configuration(timing, targets, alertmanagers=()))
    with running(folder / "prometheus.yml", folder / "data") as found:
        yield found
