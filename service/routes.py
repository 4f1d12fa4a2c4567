"""The HTTP routes. Each is three beats: read the request, call what decides or keeps, write the answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from decision import Manifest
from service import config, feedback, inference, openapi, query
from service.answer_schema import Answer
from service.drift_schemas import DriftDocument
from service.feedback_schemas import QualityDocument, ResultsDocument, SampleDocument
from service.inference_schemas import (
    InferenceDocument,
    LiveDocument,
    ModelDocument,
    ModelReadyDocument,
    ReadyDocument,
    ServerDocument,
)
from service.limits import LONGEST_WINDOW
from service.predict_batch import predict_batch
from service.preview_schemas import PreviewDocument
from service.problems import FORESEEN, answer_problem
from service.readiness import require_ready
from service.schemas import BatchDocument, HistoryDocument, PolicyInForceDocument
from service.worker import as_json, worker_of

Handler = Callable[[Request], Awaitable[Response]]


async def predict(_: Request) -> Response:
    """Classify one image."""
    raise AssertionError("service.front answers it")  # here for /docs.json, and for what methods the path takes


async def drift(request: Request) -> Response:
    """What was answered in a window beside what was to be expected, per class and with a verdict in words."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /drift")
    query.only(request, "window")
    _, seconds = query.duration(request, "window", usually="24h", most=LONGEST_WINDOW)
    return as_json((await worker.monitoring.drifts.of(seconds)).model_dump(mode="json"))


async def get_model(request: Request) -> Response:
    """The model card: bundle.json."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /model")
    return Response(worker.bundle.manifest.model_dump_json(), media_type="application/json")


async def metrics(request: Request) -> Response:
    """Prometheus text format, for all workers of this host."""
    worker = worker_of(request)
    text = await asyncio.to_thread(worker.monitoring.exposition.render)
    return Response(text, media_type="text/plain; version=1.0.0; charset=utf-8")


async def livez(_: Request) -> Response:
    """The process answers."""
    return as_json({"status": "alive"})


async def readyz(request: Request) -> Response:
    """This worker would answer, with the model and the policy that are named. What ails it is said."""
    worker = worker_of(request)
    require_ready(worker)
    enforced = await asyncio.to_thread(worker.policies.current)
    known = {"status": "ready", "model": worker.bundle.id, "policy_revision": enforced.revision}
    return as_json(known | {"degraded": await asyncio.to_thread(worker.policies.degraded)})


async def docs(_: Request) -> HTMLResponse:
    """Swagger UI, from files that BentoML brings along."""
    return get_swagger_ui_html(
        openapi_url="/docs.json", title="Equipoise",
        swagger_js_url="/static_content/swagger-ui-bundle.js", swagger_css_url="/static_content/swagger-ui.css",
        swagger_favicon_url="/static_content/favicon-light-32x32.png",
    )  # fmt: skip


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
    add("/predict/batch", predict_batch, "POST", BatchDocument, requestBody=openapi.IMAGES,
        parameters=[openapi.EXPLAIN], security=openapi.MAY_NEED_TOKEN)  # fmt: skip
    read: dict[str, Any] = {"security": openapi.MAY_NEED_TOKEN}
    write: dict[str, Any] = {"security": openapi.NEEDS_TOKEN, "parameters": openapi.OF_A_CHANGE}
    add("/config", config.get_config, model=PolicyInForceDocument, **read)
    add("/config", config.put_config, "PUT", PolicyInForceDocument, requestBody=openapi.POLICY, **write)
    add("/config", config.patch_config, "PATCH", PolicyInForceDocument, requestBody=openapi.PATCH, **write)
    add("/config/preview", config.preview_config, "POST", PreviewDocument, requestBody=openapi.POLICY, **read)
    add("/config/history", config.history, model=HistoryDocument, parameters=openapi.OF_HISTORY, **read)
    add("/config/rollback", config.rollback_config, "POST", PolicyInForceDocument, requestBody=openapi.ROLLBACK,
        **write)  # fmt: skip
    add("/drift", drift, model=DriftDocument, parameters=[openapi.WINDOW], **read)
    add("/feedback", feedback.add_labels, "POST", ResultsDocument, requestBody=openapi.LABELS,
        security=openapi.NEEDS_TOKEN)  # fmt: skip
    add("/audit-sample", feedback.audit_sample, model=SampleDocument, parameters=openapi.OF_A_SAMPLE,
        security=openapi.NEEDS_TOKEN)  # fmt: skip
    add("/quality", feedback.get_quality, model=QualityDocument, parameters=openapi.OF_QUALITY, **read)
    add("/model", get_model, model=Manifest, security=openapi.MAY_NEED_TOKEN)
    add("/v2", inference.server, model=ServerDocument)
    add("/v2/health/live", inference.live, model=LiveDocument)
    add("/v2/health/ready", inference.ready, model=ReadyDocument)
    for path, parts in inference.MODEL_PATHS.items():
        of: dict[str, Any] = {"parameters": openapi.of_path(*parts)}
        add(path, inference.model, model=ModelDocument, **of, **read)
        add(f"{path}/ready", inference.model_ready, model=ModelReadyDocument, **of)
        add(f"{path}/infer", inference.infer, "POST", InferenceDocument, requestBody=openapi.INFERENCE, **of, **read)
    add("/metrics", metrics, response_class=PlainTextResponse)
    for path, handler in (("/livez", livez), ("/healthz", livez), ("/readyz", readyz)):
        add(path, handler)
    app.add_route("/docs", docs, include_in_schema=False)
    for kind in (HTTPException, *FORESEEN):
        app.add_exception_handler(kind, answer_problem)
    app.add_exception_handler(Exception, answer_problem)
    return app
