"""Errors as problem details (RFC 9457): one table from what went wrong to what a client is told.

bytes ─▶ request ─▶ image ─▶ answer          400 404 405 413 415 422 504
token ─▶ scope                               401 403 429 503
document ─▶ policy ─▶ preview ─▶ revision    400 409 412 422 428 503
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from decision import BrokenImage, ImageError, NotCertifiable, PolicyError, TooManyPixels, UnsupportedImage
from decision.errors import MOST_NAMED
from service.database import StoreError

log = logging.getLogger("equipoise")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {"Retry-After": "1"}


class Problem(Exception):
    """An answer that is an error. `kind` is the last part of its type, a URN of a small closed set."""

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.more = dict(headers or {}), more

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "type": f"urn:equipoise:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
        } | self.more

    def response(self, path: str) -> Response:
        """For a route's path: the Open Inference Protocol has a form of its own."""
        if path == "/v2" or path.startswith("/v2/"):
            return Response(json.dumps({"error": self.detail}), self.status, self.headers, "application/json")
        return Response(json.dumps(self.document()), self.status, self.headers, MEDIA_TYPE)

    def messages(self) -> tuple[Message, Message]:
        """The whole answer to a request, in plain ASGI, for one that is made once and sent often."""
        response = self.response("")
        start = {"type": "http.response.start", "status": self.status, "headers": response.raw_headers}
        return start, {"type": "http.response.body", "body": response.body}


CLIENT_LEFT = 499  # nobody reads this answer; it is for the counters
FORESEEN = (Problem, ImageError, PolicyError, StoreError, TimeoutError, ClientDisconnect)


def problem_of(error: Exception) -> Problem:
    """What a client is told of an exception; never more of an unforeseen one than that it happened."""
    match error:
        case Problem():
            return error
        case UnsupportedImage():
            return Problem(415, "unsupported-image", str(error))
        case BrokenImage():
            return Problem(422, "broken-image", str(error))
        case TooManyPixels():
            return Problem(422, "too-many-pixels", str(error))
        case NotCertifiable():
            return Problem(422, "not-certifiable", str(error), errors=_faults(error))
        case PolicyError():
            return Problem(422, "impossible-policy", str(error), errors=_faults(error))
        case StoreError():
            return Problem(503, "store-unavailable", "the policy store does not answer; predictions go on",
                           headers=RETRY_AFTER)  # fmt: skip
        case TimeoutError():
            return Problem(504, "timeout", "the answer took longer than allowed")
        case ClientDisconnect():
            return Problem(CLIENT_LEFT, "client-left", "the client closed the connection before it was answered")
        case HTTPException():
            kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
            hint = "; /docs.json lists what there is" if error.status_code in (404, 405) else ""
            return Problem(error.status_code, kind, f"{error.detail}{hint}", headers=error.headers)
    return Problem(500, "internal-error", "an unexpected error; the log has it")


def _faults(error: PolicyError) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in error.faults[:MOST_NAMED]]


async def answer_problem(request: Request, error: Exception) -> Response:
    """The exception handler for everything."""
    return told(request, error).response(request.url.path)


def told(request: Request, error: Exception) -> Problem:
    """What a client is told of an exception; the log has those of the server that were not raised to be told."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        # A path has a route per method, and Starlette names those of the first alone.
        same = (route for route in request.app.routes if route.path_regex.match(request.url.path))
        problem.headers["Allow"] = ", ".join(sorted({method for route in same for method in route.methods}))
    if problem.status >= 500 and problem is not error:
        log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return problem
