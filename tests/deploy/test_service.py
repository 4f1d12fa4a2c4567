"""The real /metrics of two workers: it has every metric that is named here, with its labels, and no other."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from decision import save_bundle
from deploy.metrics import METRICS, SERIES
from deploy.windows import HOUR, Timing
from tests.conftest import channel_means, holdout, manifest, noise, png
from tests.deploy.conftest import watching
from tests.deploy.worlds import CLASSES
from tests.service.conftest import Server

RECALL = {"rule": {"kind": "recall", "targets": {"blue": 0.5}, "confidence": 0.9}}
TIMING = Timing(scale=60, scrape=1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    model = save_bundle(folder / "models", manifest(policy=RECALL), network=channel_means(), holdout=holdout(),
                        report="<html>").parent  # fmt: skip
    server = Server(model, folder / "state").wait()
    try:
        yield server
    finally:
        server.stop()


def test_metrics_are_those_of_the_table(service: Server) -> None:
    answer(service, 4)
    found: dict[str, set[frozenset[str]]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{service.url}/metrics").text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, set()).add(frozenset(sample.labels) - {"le"})
    assert found.keys() == SERIES
    labels = {name: {frozenset(metric.labels)} for metric in METRICS for name in metric.series()}
    assert found == labels


def test_rules_and_alerts_over_a_real_service(service: Server, tmp_path: Path) -> None:
    """All answers between two scrapes are counted; uniform noise is unlike the holdout, and too little to tell."""
    with watching(tmp_path, [service.url.removeprefix("http://")], TIMING) as prometheus:
        rule = "sum(equipoise_raw_predictions_total)"
        prometheus.wait(lambda: prometheus.now(rule))
        before = prometheus.now(rule)
        answer(service, 30)
        prometheus.wait(lambda: prometheus.now(rule) == before + 30)
        prometheus.wait(lambda: prometheus.now(f"model:equipoise_raw_predictions:increase{HOUR.name}") > 0)
        scores = f"count(model_class:equipoise_raw_predictions:zscore{HOUR.name})"
        prometheus.wait(lambda: prometheus.now(scores) == len(CLASSES))
        assert prometheus.failures() == []
        assert prometheus.alerts() == []


def answer(service: Server, n: int) -> None:
    with httpx.Client(base_url=service.url, headers={"content-type": "image/png"}) as client:
        for seed in range(n):
            client.post("/predict", content=png(noise(seed))).raise_for_status()
