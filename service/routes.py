"""The HTTP routes. Each is three beats: read the request, call what decides or keeps, write the answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from decision import Bundle, Manifest, parse_policy
from service import body, openapi
from service.access import Access
from service.metrics import Exposition
from service.policies import Enforced, PolicyInForce
from service.problems import FORESEEN, Problem, answer_problem
from service.schemas import Answer, PolicyInForceDocument, described, in_force
from service.settings import Settings

LONGEST_REASON = 500

Handler = Callable[[Request], Awaitable[Response]]


class Worker(Protocol):
    """What the routes need of a worker; `service.Equipoise` is one."""

    settings: Settings
    bundle: Bundle
    policies: PolicyInForce
    exposition: Exposition
    access: Access

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
    await worker.access.require(request, "POST /predict")
    _only(request, "explain")
    explain = _switch(request, "explain")
    async with asyncio.timeout(worker.settings.timeout):
        image = await body.image_bytes(request, worker.settings.max_bytes)
        answer = await worker.respond(image, explain=explain)
    return _json(answer.model_dump())


async def get_config(request: Request) -> Response:
    """The policy in force."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /config")
    return _in_force(await asyncio.to_thread(worker.policies.current))


async def put_config(request: Request) -> Response:
    """Replace the policy: in force on every worker of this host before this returns."""
    worker = worker_of(request)
    actor = await worker.access.require(request, "PUT /config")
    _only(request, "reason", "dry_run")
    expected = _expected_revision(request, (await asyncio.to_thread(worker.policies.current)).revision)
    document = parse_policy(await body.document(request))
    policy = await asyncio.to_thread(worker.policies.compile, document)
    reason = _reason(request)
    if _switch(request, "dry_run"):
        return _json(described(policy, expected, actor, reason, None, dry_run=True).model_dump(mode="json"))
    enforced = await asyncio.to_thread(worker.policies.change, expected, policy, actor=actor, reason=reason)
    return _in_force(enforced)


async def get_model(request: Request) -> Response:
    """The model card: bundle.json."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /model")
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
    enforced = await asyncio.to_thread(worker.policies.current)
    return _json({"status": "ready", "model": worker.bundle.id, "policy_revision": enforced.revision})


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


def _expected_revision(request: Request, revision: int) -> int:
    """The revision that If-Match names, if it is the one in force: Problem 428 without, 412 when stale."""
    given = [tag.strip() for tag in ",".join(request.headers.getlist("if-match")).split(",") if tag.strip()]
    if not given:
        raise Problem(428, "precondition-required", f'expected If-Match with the ETag of GET /config, now "{revision}"')
    if "*" not in given and f'"{revision}"' not in given:
        detail = f'If-Match is {", ".join(given)}, in force is "{revision}" (with the quotes)'
        raise Problem(412, "stale-revision", detail, revision=revision)
    return revision


def _only(request: Request, *names: str) -> None:
    """A misspelled `dry_run` must not put a policy in force."""
    if unknown := [name for name in request.query_params if name not in names]:
        raise Problem(
            400, "malformed-request", f"expected no query parameter but {', '.join(names)}, got {unknown[0]!r}"
        )


def _reason(request: Request) -> str:
    text = request.query_params.get("reason", "")
    if len(text) > LONGEST_REASON or not text.isprintable():
        raise Problem(400, "malformed-request", f"expected a reason of at most {LONGEST_REASON} printable characters")
    return text


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

    def add(
        path: str, handler: Handler, method: str = "GET", model: Any = None,
        response_class: type[Response] = JSONResponse, **described: Any,
    ) -> None:  # fmt: skip
        app.add_api_route(path, handler, methods=[method], response_model=model, responses=problems,
                          response_class=response_class, openapi_extra=described)  # fmt: skip
        if method == "GET":
            app.add_route(path, handler, methods=["HEAD"], include_in_schema=False)

    add("/predict", predict, "POST", Answer, requestBody=openapi.IMAGE, parameters=[openapi.EXPLAIN],
        security=openapi.MAY_NEED_TOKEN)  # fmt: skip
    add("/config", get_config, model=PolicyInForceDocument, security=openapi.MAY_NEED_TOKEN)
    add("/config", put_config, "PUT", PolicyInForceDocument, requestBody=openapi.POLICY,
        parameters=[openapi.IF_MATCH, openapi.REASON, openapi.DRY_RUN], security=openapi.NEEDS_TOKEN)  # fmt: skip
    add("/model", get_model, model=Manifest, security=openapi.MAY_NEED_TOKEN)
    add("/metrics", metrics, response_class=PlainTextResponse)
    for path, handler in (("/livez", livez), ("/healthz", livez), ("/readyz", readyz)):
        add(path, handler)
    app.add_route("/docs", docs, include_in_schema=False)
    # The hot route comes first and without FastAPI's own work per request; the one above documents it.
    app.router.routes.insert(0, Route("/predict", predict, methods=["POST"]))
    for kind in (HTTPException, *FORESEEN):
        app.add_exception_handler(kind, answer_problem)
    app.add_exception_handler(Exception, answer_problem)
    return app
