"""Closed-loop load by wrk, whose request is written as a Lua script."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.contenders import LOAD_CORE, Running
from benchmarks.serving.forms import Request

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Measured:
    """Answers a second that were 2xx; p50, p99 and the longest in ms; how many were no 2xx or failed; all that came."""

    rate: float
    p50: float
    p99: float
    longest: float
    failed: int
    answered: int


def loaded(
    running: Running, request: Request, *, connections: int, seconds: float, core: str | None = LOAD_CORE
) -> Measured:  # fmt: skip
    """What wrk saw, from one thread on a core of its own (None: wherever there is room)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(request.body)
        script = Path(folder) / "request.lua"
        script.write_text(
            f'local file = io.open("{folder}/body", "rb")\nwrk.method = "POST"\nwrk.body = file:read("*a")\n'
            + "".join(f'wrk.headers["{name}"] = "{value}"\n'
                      for name, value in {"Content-Type": request.kind, **request.headers}.items())
        )  # fmt: skip
        pinned = ["taskset", "-c", core] if core else []
        command = [*pinned, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency",
                   "--timeout", "30s", "-s", str(script), f"{running.url}{request.path}"]  # fmt: skip
        return measured(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measured(said: str) -> Measured:
    """What wrk printed."""
    failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    answered, seconds = int(_found(r"(\d+) requests in", said)[1]), _time(_found(r"requests in ([\d.]+)(\w+)", said))
    rate = (answered - failed) / (seconds / 1000)
    failed += sum(sum(map(int, re.findall(r"\d+", line))) for line in re.findall(r"Socket errors:(.*)", said))
    p50, p99 = (_time(_found(rf"{share}%\s+([\d.]+)(us|ms|s|m)", said)) for share in (50, 99))
    longest = _time(_found(r"Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)", said))
    return Measured(rate, p50, p99, longest, failed, answered)


def _found(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    assert found, said
    return found


def _time(found: re.Match[str]) -> float:
    return float(found[1]) * _UNITS[found[2]]
