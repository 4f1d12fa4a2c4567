"""A real Prometheus over backfilled replicas: rules equal NumPy's, and every panel answers."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy import alerts, dashboard, prometheus
from deploy.windows import Timing
from tests.deploy.conftest import Prometheus, require, running
from tests.deploy.recompute import RULES, Recomputed
from tests.deploy.replicas import STEP, Line, Series, labels, openmetrics
from tests.deploy.worlds import RESET, lively

END = 1_699_999_200.0
LATE = 7.0
"""Seconds after a sample: no window ends on one, so that open and closed windows hold the same."""
RULE = re.compile(r"\b([a-z_]+:equipoise_[a-z0-9_]+:[a-z0-9_]+)\b(\{[^}]*\})?")
EXPRESSIONS = {rule.record: rule.expr for group in prometheus.rule_groups(Timing()) for rule in group.rules}
ALERTS = {
    rule.alert + rule.window: rule.expr for group in alerts.groups(Timing(), "", "equipoise") for rule in group.rules
}
PANELS = [
    (f"{panel.title} {query.legend}", query.expr)
    for _, panels in dashboard.ROWS
    for panel in panels
    for query in panel.queries
]


def expanded(expr: str) -> str:
    """The same with each rule's name replaced by its expression, down to what is exposed; without its matchers."""
    return RULE.sub(lambda found: f"({expanded(EXPRESSIONS[found[1]])})", expr)


def substituted(expr: str) -> str:
    """As Grafana would send it: all classes, and a rate interval of four samples."""
    return (
        expr.replace("$__rate_interval", "2h")
        .replace("$job", "equipoise")
        .replace("$model", "few")
        .replace("$class", ".*")
    )


def recorded(series: list[Series], at: list[float]) -> list[Series]:
    """What the rules would have recorded at some times, as series without replicas."""
    values: list[RULES] = [Recomputed(series, END, time).rules for time in at]
    return [
        Series(record, of, tuple(Line(rules[record][of], 0, 1) for rules in values))
        for record, found in values[0].items() for of in found
    ]  # fmt: skip


@pytest.fixture(scope="module")
def backfilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    series = lively()
    firing = {"alertname": "EquipoisePolicyFallback", "alertstate": "firing", "severity": "page", "model": "few"}
    shown = [*series, *recorded(series, [END - STEP, END]), Series("ALERTS", labels(firing, "a"), (Line(1, 0, 2),))]
    (folder / "replicas.txt").write_text("".join(openmetrics(shown, END)))
    subprocess.run(
        [require("promtool"), "tsdb", "create-blocks-from", "--max-block-duration=1000h", "openmetrics",
         str(folder / "replicas.txt"), str(folder / "data")], check=True, capture_output=True)  # fmt: skip
    (folder / "prometheus.yml").write_text(prometheus.configuration(Timing(), targets=(), alertmanagers=()))
    for name, text in (("rules.yml", "groups: []\n"), ("alerts.yml", "groups: []\n")):
        (folder / name).write_text(text)
    with running(folder / "prometheus.yml", folder / "data") as found:
        yield found


@pytest.mark.parametrize("at", [END, END - (RESET - 1) * STEP], ids=["now", "after a restart"])
def test_rules_equal_numpy(backfilled: Prometheus, at: float) -> None:
    for record, expected in Recomputed(lively(), END, at + LATE).rules.items():
        found = backfilled.vector(expanded(record), at + LATE)
        assert found.keys() == expected.keys(), record
        values = np.array([found[of] for of in expected])
        np.testing.assert_allclose(values, list(expected.values()), rtol=1e-6, atol=1e-9, err_msg=record)


def test_every_rule_is_compared() -> None:
    assert Recomputed(lively(), END, END + LATE).rules.keys() == EXPRESSIONS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_parse(backfilled: Prometheus, name: str) -> None:
    assert backfilled.ask("format_query", query=expanded(ALERTS[name]))
    backfilled.vector(expanded(ALERTS[name]), END + LATE)


@pytest.mark.parametrize(("name", "expr"), PANELS, ids=[name for name, _ in PANELS])
def test_panels_answer(backfilled: Prometheus, name: str, expr: str) -> None:
    assert backfilled.ask("format_query", query=substituted(expr))
    found = backfilled.matrix(substituted(expr), END - STEP, END, STEP)
    assert found, name
    assert any(np.isfinite(values).any() for values in found.values()), name


def test_variables_and_annotation_answer(backfilled: Prometheus) -> None:
    document: dict[str, Any] = json.loads(dashboard.rendered())
    for variable in document["templating"]["list"][1:]:
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", substituted(variable["query"])).groups()
        assert backfilled.vector(f"count by ({label}) ({selector})", END)
    (annotation,) = document["annotations"]["list"]
    assert set(backfilled.vector(substituted(annotation["expr"]), END).values()) == {1.7e12}


def test_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(prometheus.rules(Timing(60, 1)))
    (tmp_path / "alerts.yml").write_text(prometheus.alert_rules(Timing(60, 1)))
    (tmp_path / "prometheus.yml").write_text(prometheus.configuration(Timing(60, 1), ("127.0.0.1:1",)))
    done = subprocess.run([require("promtool"), "check", "config", str(tmp_path / "prometheus.yml")],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
