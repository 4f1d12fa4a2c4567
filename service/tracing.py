"""Traces, where OpenTelemetry's own environment variables name a collector; without one nothing of it is loaded."""

import importlib.util
import os
import re
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from service.settings import SettingsError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
UNTRACED = re.compile(r"/(livez|healthz|readyz|metrics|v2/health/(live|ready)|v2/models/[^/]+(/versions/[^/]+)?/ready)")
WHOLE = "equipoise.whole"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def collector(environment: Mapping[str, str] = os.environ) -> str | None:
    """The collector that traces go to; None without one, and where OTEL_TRACES_EXPORTER is `none`.

    Raises SettingsError where there is nothing to send with.
    """
    named = next((name for name in ENDPOINTS if environment.get(name)), None)
    if named is None or environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    try:
        found = importlib.util.find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise SettingsError(f"{named}: expected the extra `tracing` to be installed beside it, found no {_EXPORTER}")
    return environment[named]


def traced(app: ASGIApp) -> ASGIApp:
    """`app`, with a span for each request but those of probes and of Prometheus; a client's trace goes on.

    A query is in no span: reasons of changes are for the audit. Of the standard's variables the SDK reads those that
    name the service (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES), OTEL_SDK_DISABLED, OTEL_PROPAGATORS, and those of
    its sampler (OTEL_TRACES_SAMPLER…), limits (OTEL_SPAN_…), batches (OTEL_BSP_…) and exporter (OTEL_EXPORTER_OTLP_…),
    which is OTLP over HTTP, whatever OTEL_EXPORTER_OTLP_PROTOCOL says.
    """
    if collector() is None:
        return app
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: "equipoise"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope[WHOLE], receive, send)

    spanned = OpenTelemetryMiddleware(whole, tracer_provider=provider, exclude_spans=["receive", "send"])

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if UNTRACED.fullmatch(scope["path"]):
            await app(scope, receive, send)
        else:
            await spanned({**scope, "query_string": b"", WHOLE: scope}, receive, send)

    return front
