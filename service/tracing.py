"""Traces, where OpenTelemetry's own environment variables name a collector; without one nothing of it is loaded."""

import importlib.util
import os
from collections.abc import Mapping

from starlette.types import ASGIApp

from service.settings import SettingsError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
UNTRACED = "livez,healthz,readyz,metrics"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def collector(environment: Mapping[str, str] = os.environ) -> str | None:
    """The collector that traces go to, by OTLP over HTTP. Raises SettingsError where there is nothing to send with."""
    named = next((name for name in ENDPOINTS if environment.get(name)), None)
    if named is None:
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

    The SDK itself reads OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and all else that is standard.
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
    wrapped: ASGIApp = OpenTelemetryMiddleware(
        app, excluded_urls=UNTRACED, tracer_provider=provider, exclude_spans=["receive", "send"]
    )
    return wrapped
