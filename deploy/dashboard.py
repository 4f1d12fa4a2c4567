"""The dashboard: what was promised, what came, what was decided, and whether the three agree."""

import itertools
from collections.abc import Sequence

from deploy.panels import SOURCE, build
from deploy.rows import JOB, MODEL, ROWS
from deploy.sdk import JSONEncoder, dashboard, models, prometheus

UID, TITLE = "equipoise", "Equipoise"


def rendered() -> str:
    """The dashboard's JSON, schema v1."""
    return JSONEncoder(sort_keys=True, indent=2).encode(model().build()) + "\n"


def model() -> dashboard.Dashboard:
    """The SDK's builder of it."""
    made = (
        dashboard.Dashboard(TITLE).uid(UID).tags(["equipoise"]).readonly().time("now-24h", "now").refresh("1m")
        .timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
        .description("Promises, decisions and drift of a served classifier. Written by `python -m deploy`.")
    )  # fmt: skip
    for variable in _variables():
        made.with_variable(variable)
    made.annotation(_policy_changes())
    numbers = itertools.count(1)
    for title, panels in ROWS:
        made.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            made.with_panel(build(panel, next(numbers)))
    return made


def _variables() -> Sequence[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return (
        source,
        _variable("job", "Job", "label_values(equipoise_model_info, job)"),
        _variable("model", "Model", f"label_values(equipoise_model_info{{{JOB}}}, model)"),
        _variable("class", "Class", f"label_values(equipoise_raw_predictions_total{{{MODEL}}}, class)")
        .multi(True).include_all(True).all_value(".*"),
    )  # fmt: skip


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    )  # fmt: skip


def _policy_changes() -> dashboard.AnnotationQuery:
    """A mark at each time a policy took force: the gauge's value is the time, in milliseconds."""
    expr = f"1000 * max by (job, model) (equipoise_policy_updated_timestamp_seconds{{{MODEL}}})"
    return (
        dashboard.AnnotationQuery().name("Policy changes").datasource(SOURCE).enable(True).icon_color("purple")
        .expr(expr).use_value_for_time(True).title_format("Policy changed").text_format("{{model}}").tag_keys("model")
        .target(prometheus.Dataquery().expr(expr).ref_id("Anno").datasource(SOURCE).range())
    )  # fmt: skip
