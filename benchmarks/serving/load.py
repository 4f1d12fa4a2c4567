"""Closed-loop load by wrk, whose request is written as a Lua script."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.serving.contenders import LOAD_CORE, Running

BOUNDARY = "equipoise-benchmark"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Measured:
    """Requests a second; p50, p99 and the longest in ms; how many were no 2xx or failed."""

    rate: float
    p50: float
    p99: float
    longest: float
    failed: int


def request_of(running: Running, image: bytes) -> tuple[str, bytes]:
    """Content type and body."""
    if not running.contender.multipart:
        return "image/png", image
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n' \
           "Content-Type: image/png\r\n\r\n"  # fmt: skip
    return f"multipart/form-data; boundary={BOUNDARY}", head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()


def asked_once(running: Running, image: bytes) -> dict[str, object]:
    """The answer to one request."""
    kind, body = request_of(running, image)
    answer = httpx.post(f"{running.url}/predict", content=body, headers={"Content-Type": kind}, timeout=60)
    found: dict[str, object] = answer.raise_for_status().json()
    return found


def loaded(running: Running, image: bytes, *, connections: int, seconds: float) -> Measured:
    """What wrk saw, from one thread on a core of its own."""
    kind, body = request_of(running, image)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        script = Path(folder) / "request.lua"
        script.write_text(
            f'local file = io.open("{folder}/body", "rb")\nwrk.method = "POST"\nwrk.body = file:read("*a")\n'
            f'wrk.headers["Content-Type"] = "{kind}"\n'
        )
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency",
                   "--timeout", "30s", "-s", str(script), f"{running.url}/predict"]  # fmt: skip
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _measured(said)


def _measured(said: str) -> Measured:
    def time_of(pattern: str) -> float:
        found = re.search(pattern + r"\s+([\d.]+)(us|ms|s|m)", said)
        assert found, said
        return float(found[1]) * _UNITS[found[2]]

    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    longest = re.search(r"Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)", said)
    assert rate, said
    assert longest, said
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    failed += sum(sum(map(int, re.findall(r"\d+", line))) for line in re.findall(r"Socket errors:(.*)", said))
    return Measured(float(rate[1]), time_of("50%"), time_of("99%"), float(longest[1]) * _UNITS[longest[2]], failed)
