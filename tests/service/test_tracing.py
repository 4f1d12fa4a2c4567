"""Spans reach a real OTLP collector, and go on from the client's; without a collector nothing of it is loaded."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service import tracing
from service.settings import SettingsError
from tests.conftest import noise, png
from tests.service.conftest import ARGMAX, Server, put, until

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collected() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A collector's URL, and what it was sent."""
    found: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            found.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", found
        server.shutdown()


def test_a_span_for_each_request_and_lines_in_the_access_log(
    start: Callable[..., Server], collected: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    url, found = collected
    server = start(workers=1, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_BSP_SCHEDULE_DELAY="100",
                   OTEL_RESOURCE_ATTRIBUTES="deployment.environment=line-7",
                   EQUIPOISE_ACCESS_LOG="true").wait()  # fmt: skip
    with httpx.Client(base_url=server.url) as client:
        headers = {"Content-Type": "image/png", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        assert client.post("/predict", content=png(noise(0, (4, 6, 3))), headers=headers).status_code == 200
        assert client.post("/predict?explain=perhaps", content=b"x", headers=headers).status_code == 400
        assert client.get("/config").status_code == 200
        assert client.get("/no/such?token=secret").status_code == 404
        assert client.get("/config", headers={"Host": "metrics.readyz"}).status_code == 200
        assert client.get("/v2/models/readyz-net").status_code == 404
        assert put(client, ARGMAX, reason="a secret one", dry_run="true").json()["dry_run"] is True
        for path in ("/livez", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready"):
            assert client.get(path).status_code == 200
        assert client.get("/v2/models/tiny/versions/1/ready").status_code == 404
        client.get("/metrics")

    def spans() -> list[tuple[str, str, str]]:
        return [
            (span.name, span.trace_id.hex(), next(a.value.string_value or str(a.value.int_value)
             for a in span.attributes if a.key in ("http.status_code", "http.response.status_code")))
            for one in found for resource in one.resource_spans for scope in resource.scope_spans
            for span in scope.spans
        ]  # fmt: skip

    until(lambda: len(spans()) >= 8)
    assert [status for _, trace, status in spans() if trace == TRACE] == ["200", "400"]
    assert sorted(name.split()[-1] for name, _, _ in spans()) == [
        "/config", "/config", "/config", "/config", "/no/such", "/predict", "/predict", "/v2/models/readyz-net",
    ]  # no probe, no scrape  # fmt: skip
    assert all(b"secret" not in one.SerializeToString() for one in found)
    told = {a.key: a.value.string_value for a in found[0].resource_spans[0].resource.attributes}
    assert told["service.name"] == "equipoise"
    assert told["deployment.environment"] == "line-7"

    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith('{"time"')]
    ours = [
        (line["method"], line["path"], line["route"], line["status"]) for line in lines if line["path"] != "/readyz"
    ]
    assert ours[:4] == [
        ("POST", "/predict", "/predict", 200), ("POST", "/predict", "/predict", 400),
        ("GET", "/config", "/config", 200), ("GET", "/no/such", "unmatched", 404),
    ]  # fmt: skip
    assert ours[-1] == ("GET", "/metrics", "/metrics", 200)
    assert all(line["client"] == "127.0.0.1" and 0 < line["seconds"] < 30 for line in lines)
    assert "secret" not in server.log


def test_without_a_collector_there_is_none() -> None:
    async def app(*_: object) -> None: ...

    assert tracing.collector({}) is None
    assert tracing.collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}) is None
    assert tracing.collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "otlp"}) == "http://x"
    assert tracing.traced(app) is app


def test_a_collector_without_what_sends_to_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_EXPORTER", "opentelemetry.exporter.no.such")
    with pytest.raises(SettingsError, match="expected the extra `tracing` to be installed"):
        tracing.collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
