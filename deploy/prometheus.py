"""The files of Prometheus: rules, alerts, and a configuration that scrapes the service."""

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from deploy import alerts, drift, operations, prevalence, quality
from deploy.promql import Group
from deploy.windows import DAY, DRIFT, HOUR, Timing, duration

HEADER = "# Written by `python -m deploy`: change deploy/*.py, not this file.\n"
REHEARSAL = "# For a rehearsal, --scale {:g}: what is called 24h here is {}. Not for production.\n"
RUNBOOKS = "docs/runbooks.md"
JOB = "equipoise"


class _Dumper(yaml.SafeDumper):
    """Writes what has several lines as a block, so that an expression reads as it was written."""


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def document(value: Any, timing: Timing) -> str:
    """YAML text, keys in the order given; its first lines say who wrote it, and a scale that is not 1."""
    rehearsal = "" if timing.scale == 1 else REHEARSAL.format(timing.scale, timing.range(DAY))
    return HEADER + rehearsal + str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))


def rule_groups(timing: Timing) -> list[Group]:
    """All recording rules. What is read beside another rule is in its group: evaluated at the same moment, after it."""
    return [
        Group("equipoise-reference", timing.interval(HOUR), drift.reference()),
        *(
            Group(f"equipoise-drift-{w.name}", timing.interval(w), [*drift.rules(w, timing), *prevalence.rules(w)])
            for w in DRIFT
        ),
        *quality.groups(timing),
        *operations.groups(timing),
    ]


def rules(timing: Timing) -> str:
    """rules.yml."""
    return _rule_file(rule_groups(timing), timing)


def alert_rules(timing: Timing, runbooks: str = RUNBOOKS, job: str = JOB) -> str:
    """alerts.yml, with links to the runbooks at an address."""
    return _rule_file(alerts.groups(timing, runbooks, job), timing)


def _rule_file(groups: Iterable[Group], timing: Timing) -> str:
    return document({"groups": [group.document() for group in groups]}, timing)


def configuration(
    timing: Timing, targets: Sequence[str] = ("service:3000",), alertmanagers: Sequence[str] = ("alertmanager:9093",),
    job: str = JOB,
) -> str:  # fmt: skip
    """prometheus.yml: scrapes `targets` (host:port each) as a job, reads the rules beside it, tells alertmanagers."""
    every = duration(timing.scrape)
    alerting = {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]}
    return document({
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yml", "alerts.yml"],
        **({"alerting": alerting} if alertmanagers else {}),
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
    }, timing)  # fmt: skip
