"""The HTTP routes. Each is three beats: read the request, call what decides or keeps, write the answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from decision import Bundle, Manifest, parse_policy
from service import body, openapi
from service.metrics import Exposition
from service.policies import Enforced, PolicyInForce
from service.problems import FORESEEN, Problem, answer_problem
from service.schemas import Answer, PolicyInForceDocument, described, in_force
from service.settings import Settings
from service.tokens import require

Handler = Callable[[Request], Awaitable[Response]]


class Worker(Protocol):
    """What the routes need of a worker; `service.Equipoise` is one."""

    settings: Settings
    bundle: Bundle
    policies: PolicyInForce
    exposition: Exposition

    async def respond(self, image: bytes, *, explain: bool) -> Answer:
        """The answer to one encoded image, worked out off the event loop. Raises ImageError."""


def worker_of(request: Request) -> Worker:
    """The worker that serves this request."""
    worker: Worker = request.app.state.worker
    return worker


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, "application/json")


async def predict(request: Request) -> Response:
    """Classify one image."""
    worker = worker_of(request)
    require(request, "read", worker.settings)
    explain = _switch(request, "explain")
    async with asyncio.timeout(worker.settings.timeout):
        image = await body.image_bytes(request, worker.settings.max_bytes)
        answer = await worker.respond(image, explain=explain)
    return _json(answer.model_dump())


async def get_config(request: Request) -> Response:
    """The policy in force."""
    worker = worker_of(request)
    require(request, "read", worker.settings)
    return _in_force(worker.policies.current())


async def put_config(request: Request) -> Response:
    """Replace the policy: in force on every worker of this host before this returns."""
    worker = worker_of(request)
    actor = require(request, "write-policy", worker.settings)
    expected = _expected_revision(request, worker)
    policy = worker.policies.compile(parse_policy(await body.document(request)))
    reason = request.query_params.get("reason", "")
    if _switch(request, "dry_run"):
        return _json(described(policy, expected, actor, reason, "").model_dump(mode="json"))
    enforced = await asyncio.to_thread(worker.policies.change, expected, policy, actor=actor, reason=reason)
    return _in_force(enforced)


async def get_model(request: Request) -> Response:
    """The model card: bundle.json."""
    worker = worker_of(request)
    require(request, "read", worker.settings)
    return Response(worker.bundle.manifest.model_dump_json(), media_type="application/json")


async def metrics(request: Request) -> Response:
    """Prometheus text format, for all workers of this host."""
    worker = worker_of(request)
    text = await asyncio.to_thread(worker.exposition.render)
    return Response(text, media_type="text/plain; version=1.0.0; charset=utf-8")


async def livez(_: Request) -> Response:
    """The process answers."""
    return _json({"status": "alive"})


async def readyz(request: Request) -> Response:
    """The worker has the model, a policy, and has answered once: it exists only after that."""
    worker = worker_of(request)
    return _json({"status": "ready", "model": worker.bundle.id, "policy_revision": worker.policies.current().revision})


async def docs(_: Request) -> HTMLResponse:
    """Swagger UI, from files that BentoML brings along."""
    return get_swagger_ui_html(
        openapi_url="/docs.json", title="Equipoise",
        swagger_js_url="/static_content/swagger-ui-bundle.js", swagger_css_url="/static_content/swagger-ui.css",
        swagger_favicon_url="/static_content/favicon-light-32x32.png",
    )  # fmt: skip


def _in_force(enforced: Enforced) -> Response:
    document = in_force(enforced).model_dump(mode="json")
    return _json(document, headers={"ETag": f'"{enforced.revision}"', "Cache-Control": "no-cache"})


def _expected_revision(request: Request, worker: Worker) -> int:
    """The revision that If-Match names, if it is the one in force: Problem 428 without, 412 when stale."""
    given = [tag.strip() for tag in ",".join(request.headers.getlist("if-match")).split(",") if tag.strip()]
    revision = worker.policies.current().revision
    if not given:
        raise Problem(428, "precondition-required", f'expected If-Match with the ETag of GET /config, now "{revision}"')
    if "*" not in given and f'"{revision}"' not in given:
        raise Problem(412, "stale-revision", f'If-Match is {", ".join(given)}, in force is "{revision}"',
                      revision=revision)  # fmt: skip
    return revision


def _switch(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Problem(400, "malformed-request", f"expected {name}=true or {name}=false, got {text!r}")
    return text in ("true", "1")


def create_app() -> FastAPI:
    """All routes, and /docs.json that describes them; `app.state.worker` is set when a worker starts."""
    app = FastAPI(
        title="Equipoise", version="1", openapi_url="/docs.json", docs_url=None, redoc_url=None, redirect_slashes=False,
        description="Calibrated decisions on imbalanced images, under a policy that changes while it runs.",
    )  # fmt: skip
    problems: dict[int | str, dict[str, Any]] = {"default": openapi.PROBLEM}

    def add(path: str, handler: Handler, method: str = "GET", model: Any = None, **described: Any) -> None:
        app.add_api_route(path, handler, methods=[method], response_model=model, responses=problems,
                          openapi_extra=described)  # fmt: skip

    add("/predict", predict, "POST", Answer, requestBody=openapi.IMAGE, parameters=[openapi.EXPLAIN])
    add("/config", get_config, model=PolicyInForceDocument)
    add("/config", put_config, "PUT", PolicyInForceDocument, requestBody=openapi.POLICY,
        parameters=[openapi.IF_MATCH, openapi.REASON, openapi.DRY_RUN])  # fmt: skip
    add("/model", get_model, model=Manifest)
    for path, handler in (("/metrics", metrics), ("/livez", livez), ("/healthz", livez), ("/readyz", readyz)):
        add(path, handler)
    app.add_route("/docs", docs, include_in_schema=False)
    # The hot route comes first and without FastAPI's own work per request; the one above documents it.
    app.router.routes.insert(0, Route("/predict", predict, methods=["POST"]))
    for kind in (HTTPException, *FORESEEN):
        app.add_exception_handler(kind, answer_problem)
    app.add_exception_handler(Exception, answer_problem)
    return app
