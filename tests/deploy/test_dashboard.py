"""The dashboard: the SDK reads back what it wrote, and the rules of grafana/dashboard-linter, written down here."""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from deploy import dashboard
from deploy.sdk import JSONEncoder, models

DOCUMENT: dict[str, Any] = json.loads(dashboard.rendered())
PANELS = [panel for panel in DOCUMENT["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def test_the_sdk_reads_back_what_it_wrote() -> None:
    again = models.Dashboard.from_json(DOCUMENT)
    assert json.loads(JSONEncoder().encode(again)) == DOCUMENT


def test_rows() -> None:
    rows = [panel["title"] for panel in DOCUMENT["panels"] if panel["type"] == "row"]
    assert rows == ["Promise", "Traffic", "Policy", "Decisions against expectation", "Prevalence against priors",
                    "Recall and precision", "Calibration", "Health"]  # fmt: skip


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters) > 0


@pytest.mark.parametrize(("title", "expr"), TARGETS)
def test_every_query_is_of_the_chosen_job_and_safe_over_replicas(title: str, expr: str) -> None:
    assert expr.count("{") == expr.count('job=~"$job"') > 0
    assert all(window == "$__rate_interval" for window in re.findall(r"\[([^\]]+)\]", expr))
    exposed = re.findall(r"(?<![:a-z_])(?:equipoise_\w+|up|scrape_duration_seconds|ALERTS)\{", expr)
    if exposed:  # recorded rules are without replicas already
        assert re.search(r"\b(sum|max|min|avg|count) (by|without) \(|^count\(", expr), title
    if re.search(r"_(total|bucket|sum|count)\{", expr):
        assert re.search(r"\b(rate|increase)\(", expr), title


def test_panels_do_not_overlap_and_have_numbers() -> None:
    numbers = [panel["id"] for panel in DOCUMENT["panels"]]
    assert numbers == list(range(1, len(numbers) + 1))
    for one, other in combinations([panel["gridPos"] for panel in DOCUMENT["panels"]], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart_x or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DOCUMENT["panels"])


def test_the_dashboard_is_chosen_by_variables_and_not_edited() -> None:
    assert [variable["name"] for variable in DOCUMENT["templating"]["list"]] == ["datasource", "job", "model", "class"]
    assert DOCUMENT["editable"] is False
    (changes,) = DOCUMENT["annotations"]["list"]
    assert changes["useValueForTime"]


def test_bands_lie_between_two_legends() -> None:
    banded = [panel for panel in PANELS if panel["fieldConfig"]["overrides"]]
    assert [panel["repeat"] for panel in banded] == ["class", "class"]
    for panel in banded:
        legends = {target["legendFormat"] for target in panel["targets"]}
        assert (
            {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
            == {"lower", "upper"}
            <= legends
        )
