"""Clients of our own, each in a process on the load's core: a plan goes in as JSON, what was seen comes out."""

import base64
import json
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving.contenders import LOAD_CORE, ROOT, Running
from benchmarks.serving.forms import Request


def plan(running: Running, request: Request, **more: Any) -> dict[str, Any]:
    """Where to and what to send."""
    address = urlsplit(running.url)
    sent = base64.b64encode(request.encoded(address.netloc)).decode()
    return {"host": address.hostname, "port": address.port, "request": sent, **more}


def on_core(module: str, plan: dict[str, Any], core: str = LOAD_CORE) -> dict[str, Any]:
    """What `python -m module` says of a plan."""
    command = ["taskset", "-c", core, sys.executable, "-m", module]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def given() -> dict[str, Any]:
    """In the process: the plan, its request as bytes."""
    found: dict[str, Any] = json.load(sys.stdin)
    return found | ({"request": base64.b64decode(found["request"])} if "request" in found else {})
