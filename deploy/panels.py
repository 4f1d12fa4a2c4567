"""Panels of the dashboard as values, and how grafana-foundation-sdk builds each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from deploy.sdk import (
    HeatmapColorMode,
    PromQueryFormat,
    bargauge,
    common,
    common_models,
    dashboard,
    heatmap,
    models,
    prometheus,
    stat,
    statetimeline,
    statushistory,
    table,
    timeseries,
)

Kind = Literal["lines", "stat", "scores", "heatmap", "states", "table", "bars"]
SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="$datasource")
INSTANT: frozenset[Kind] = frozenset({"stat", "table", "bars"})
BAND = 12
"""Percent of ink between two limits."""

Steps = tuple[tuple[float | None, str], ...]
SCORE_STEPS: Steps = ((None, "dark-blue"), (-4.5, "blue"), (-3.0, "semi-dark-green"), (3.0, "orange"), (4.5, "red"))
BAD_ABOVE_ZERO: Steps = ((None, "green"), (0.5, "red"))
BAD_AT_ZERO: Steps = ((None, "red"), (0.5, "green"))


@dataclass(frozen=True)
class Query:
    """An expression and the legend of its series."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """What one panel shows. `band` names the legends of a lower and an upper limit, between which is inked."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    span: int = 8
    height: int = 8
    steps: Steps = ()
    band: tuple[str, str] | None = None
    repeat: str = ""


def build(panel: Panel, number: int) -> Any:
    """The SDK's builder of a panel; `number` is its id, unique on the dashboard."""
    made = _KINDS[panel.kind](panel).id(number)
    made.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    made.span(panel.span).height(panel.height)
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(panel, query, letter))
    if panel.steps:
        steps = [models.Threshold(value=value, color=color) for value, color in panel.steps]
        made.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        made.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    if panel.repeat:
        made.repeat(panel.repeat).repeat_direction("h").max_per_row(3)
    return made


def _target(panel: Panel, query: Query, letter: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter).datasource(SOURCE)
    if panel.kind == "heatmap":
        return target.range().format(PromQueryFormat.HEATMAP)
    if panel.kind == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    return target.instant() if panel.kind in INSTANT else target.range()


def _lines(panel: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(0)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(legend.show_legend(True))
    )
    if panel.band:
        lower, upper = panel.band
        made.override_by_name(lower, [models.DynamicConfigValue("custom.lineWidth", 0)])
        made.override_by_name(upper, [models.DynamicConfigValue("custom.lineWidth", 0),
                                      models.DynamicConfigValue("custom.fillBelowTo", lower),
                                      models.DynamicConfigValue("custom.fillOpacity", BAND)])  # fmt: skip
    return made


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


_KINDS: Mapping[Kind, Callable[[Panel], Any]] = {
    "lines": _lines,
    "stat": lambda _: stat.Panel().reduce_options(_last()),
    "scores": lambda _: statushistory.Panel().show_value(common_models.VisibilityMode.NEVER).row_height(0.95),
    "heatmap": lambda _: heatmap.Panel().color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME)),
    "states": lambda _: statetimeline.Panel().show_value(common_models.VisibilityMode.NEVER),
    "table": lambda _: table.Panel(),
    "bars": lambda _: bargauge.Panel().reduce_options(_last()),
}
