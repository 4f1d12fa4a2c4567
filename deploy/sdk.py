"""grafana-foundation-sdk, imported without its word that schema v2 is newer: files that are provisioned are v1."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import (
        bargauge,
        common,
        dashboard,
        heatmap,
        prometheus,
        stat,
        statetimeline,
        statushistory,
        table,
        timeseries,
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common as common_models
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "HeatmapColorMode",
    "JSONEncoder",
    "PromQueryFormat",
    "bargauge",
    "common",
    "common_models",
    "dashboard",
    "heatmap",
    "models",
    "prometheus",
    "stat",
    "statetimeline",
    "statushistory",
    "table",
    "timeseries",
]
