"""Recording rules, alerts and groups as values, and the few expressions that most of them share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

REPLICAS = "instance, pod"
"""What tells replicas apart; workers of one replica are merged in its /metrics."""

Severity = Literal["page", "ticket"]


@dataclass(frozen=True)
class Recording:
    """One recording rule."""

    record: str
    expr: str

    def document(self) -> dict[str, Any]:
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True)
class Alert:
    """One alert: `page` where a promise to the user is broken, `ticket` else."""

    alert: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    description: str
    runbook: str
    window: str = ""

    def document(self) -> dict[str, Any]:
        labels = {"severity": self.severity} | ({"window": self.window} if self.window else {})
        annotations = {"summary": self.summary, "description": self.description, "runbook_url": self.runbook}
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.wait,
            "labels": labels,
            "annotations": annotations,
        }


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated one after the other, so that a later one sees an earlier one's value."""

    name: str
    interval: str
    rules: Sequence[Recording | Alert]

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "interval": self.interval, "rules": [rule.document() for rule in self.rules]}


def increase(metric: str, window: str, matchers: str = "") -> str:
    """What all replicas added to a counter; increase before sum, so that a restart is no fall."""
    return f"sum without ({REPLICAS}) (increase({metric}{matchers}[{window}]))"


def greatest(gauge: str, matchers: str = "", without: str = "") -> str:
    """A number that is the same on every replica."""
    return f"max without ({REPLICAS}{without}) ({gauge}{matchers})"


def per_model(value: str, divisor: str, operator: str = "/") -> str:
    """A per-class value over a per-model one."""
    return f"{value}\n{operator} ignoring (class) group_left ()\n{divisor}"
