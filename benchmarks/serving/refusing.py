"""A bare ASGI app that refuses: what the cheapest 503 of this kind costs. `uvicorn benchmarks.serving.refusing:app`.

As in a server that has no room, the body is not asked for; the answer is as long as one of Equipoise's refusals.
"""

import json
from typing import Any

REFUSAL = json.dumps({"type": "urn:equipoise:problem:overloaded", "title": "Overloaded", "status": 503,
                      "detail": "too many images are before this one"}).encode()  # fmt: skip
HEADERS = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(REFUSAL)),
           (b"retry-after", b"1")]  # fmt: skip


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """POST anything to any path: 503; GET answers 204."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    status, headers, body = (503, HEADERS, REFUSAL) if scope["method"] == "POST" else (204, [], b"")
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
