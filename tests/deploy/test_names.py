"""Every metric that rules, dashboard and runbooks name is one of the service's, and each of those is put to use."""

import re
from pathlib import Path

from deploy import dashboard, prometheus
from deploy.metrics import METRICS, SERIES
from deploy.windows import Timing

ROOT = Path(__file__).resolve().parents[2]
EXPOSED = re.compile(r"(?<![:\w])equipoise_\w+(?![\w:])")
RULE = re.compile(r"\b[a-z_]+:equipoise_\w+:\w+\b")


def texts() -> dict[str, str]:
    return {
        "rules": prometheus.rules(Timing()),
        "alerts": prometheus.alert_rules(Timing()),
        "dashboard": dashboard.rendered(),
        "runbooks": (ROOT / "docs/runbooks.md").read_text(),
    }


def test_every_metric_that_is_named_exists() -> None:
    for name, text in texts().items():
        assert set(EXPOSED.findall(text)) - SERIES == set(), name


def test_every_metric_is_put_to_use() -> None:
    named = set(EXPOSED.findall(" ".join(texts().values())))
    assert {metric.name for metric in METRICS if not named & set(metric.series())} == set()


def test_every_rule_that_is_named_exists() -> None:
    recorded = {rule.record for group in prometheus.rule_groups(Timing()) for rule in group.rules}
    for name, text in texts().items():
        assert set(RULE.findall(text)) - recorded == set(), name


def test_every_metric_is_named_by_the_conventions() -> None:
    for metric in METRICS:
        assert metric.name.startswith("equipoise_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not {"id", "revision", "path"} & set(metric.labels)
