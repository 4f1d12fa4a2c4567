"""A line of JSON on standard output for each request, where EQUIPOISE_ACCESS_LOG asks for it."""

import sys
from datetime import UTC, datetime

import orjson
from starlette.types import Scope


def note(scope: Scope, route: str, status: int, seconds: float) -> None:
    """Log a request that was answered. Its query is left out: reasons of changes are for the audit."""
    client = scope.get("client")
    line = {
        "time": datetime.now(UTC), "client": client[0] if client else None, "method": scope["method"],
        "path": scope["path"], "route": route, "status": status, "seconds": round(seconds, 6),
    }  # fmt: skip
    sys.stdout.write(orjson.dumps(line, option=orjson.OPT_UTC_Z).decode() + "\n")
    sys.stdout.flush()
