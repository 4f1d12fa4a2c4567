"""Replicas that never were, series of straight lines as promtool and OpenMetrics write them; and increase()."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from deploy.metrics import METRICS

STEP = 1800.0
"""Seconds between samples."""
REPLICAS = ("a", "b")
JOB = "equipoise"
KINDS = {series: metric for metric in METRICS for series in metric.series()}

Labels = tuple[tuple[str, str], ...]


class Exposed(Protocol):
    """A series that a replica exposed."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Labels: ...
    def values(self) -> np.ndarray: ...
    def times(self, end: float) -> np.ndarray: ...


@dataclass(frozen=True)
class Line:
    """Samples `first`, `first + slope`, …: `count` of them."""

    first: float
    slope: float
    count: int

    def values(self) -> np.ndarray:
        return self.first + self.slope * np.arange(self.count)

    def notation(self) -> str:
        """What promtool expands to it."""
        return f"{self.first!r}{self.slope:+.12g}x{self.count - 1}"


@dataclass(frozen=True)
class Series:
    """One exposed series of one replica, sampled each `step` seconds; a later line that starts lower is a restart."""

    name: str
    labels: Labels
    lines: tuple[Line, ...]
    step: float = STEP

    def values(self) -> np.ndarray:
        return np.concatenate([line.values() for line in self.lines])

    def times(self, end: float) -> np.ndarray:
        """Seconds; the last sample at `end`."""
        return end - self.step * np.arange(sum(line.count for line in self.lines))[::-1]

    def scaled(self, factor: float) -> "Series":
        lines = tuple(replace(line, first=line.first * factor, slope=line.slope * factor) for line in self.lines)
        return replace(self, lines=lines)

    def selector(self) -> str:
        inside = ",".join(f'{key}="{value}"' for key, value in self.labels)
        return f"{self.name}{{{inside}}}"

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


def labels(of: Mapping[str, str], replica: str) -> Labels:
    return tuple(sorted({"job": JOB, "instance": replica, "pod": replica, **of}.items()))


def increase(times: np.ndarray, values: np.ndarray, start: float, end: float) -> float:
    """Prometheus's increase() over [start, end]: resets added, extrapolated to the ends, never below zero counts."""
    inside = (times >= start) & (times <= end)
    t, v = times[inside], values[inside]
    if len(t) < 2:
        return np.nan
    steps = np.diff(v)
    total = float(np.where(steps < 0, v[1:], steps).sum())
    sampled = t[-1] - t[0]
    average = sampled / (len(t) - 1)
    before, after = t[0] - start, end - t[-1]
    if total > 0 and v[0] >= 0:
        before = min(before, sampled * v[0] / total)
    covered = sampled + sum(gap if gap < 1.1 * average else average / 2 for gap in (before, after))
    return total * covered / sampled


def merged(series: Iterable[Exposed]) -> dict[tuple[str, Labels], list[Exposed]]:
    """Series of all replicas by name and what is left of the labels without instance and pod."""
    found: dict[tuple[str, Labels], list[Exposed]] = {}
    for one in series:
        kept = tuple(pair for pair in one.labels if pair[0] not in ("instance", "pod"))
        found.setdefault((one.name, kept), []).append(one)
    return found


def openmetrics(series: Iterable[Series], end: float) -> Iterator[str]:
    """Lines that `promtool tsdb create-blocks-from openmetrics` reads."""
    for _, family in itertools.groupby(sorted(series, key=lambda one: one.name), key=lambda one: one.name):
        for one in family:
            samples = zip(one.times(end).tolist(), one.values().tolist(), strict=True)
            head = one.selector()
            yield from (f"{head} {value!r} {time:.3f}\n" for time, value in samples)
    yield "# EOF\n"


def input_series(series: Iterable[Series]) -> list[dict[str, str]]:
    """What a promtool test calls input_series."""
    return [{"series": one.selector(), "values": " ".join(line.notation() for line in one.lines)} for one in series]
