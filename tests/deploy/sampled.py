"""What a real Prometheus scraped and recorded, sample by sample, so that each evaluation can be recomputed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deploy.windows import DAY, HOUR, SHORT, WEEK, Timing
from tests.deploy.conftest import Prometheus
from tests.deploy.recompute import RULES
from tests.deploy.replicas import Labels

MARGIN = 0.03
"""Seconds between the end of a scrape and an evaluation within which it is open whether the one has seen the other."""
EXPOSED = '{__name__=~"equipoise_.*|up|scrape_duration_seconds",__name__!~".*_bucket"}'
RECORDED = '{__name__=~"[a-z_]+:equipoise_.+"}'


@dataclass(frozen=True)
class Sampled:
    """One series with the moments of its samples, in seconds."""

    name: str
    labels: Labels
    moments: np.ndarray
    readings: np.ndarray

    def times(self, end: float) -> np.ndarray:
        return self.moments

    def values(self) -> np.ndarray:
        return self.readings

    def added(self) -> float:
        """All that a counter counted since it was first scraped; a fall is a restart from 0."""
        steps = np.diff(self.readings)
        return float(self.readings[0] + np.where(steps < 0, self.readings[1:], steps).sum())


def samples(of: Prometheus, selector: str, seconds: float, at: float) -> list[Sampled]:
    """All samples of the last so many seconds, at the moments they were taken."""
    found = of.ask("query", query=f"{selector}[{seconds:.0f}s]", time=at)["result"]
    return [Sampled(one["metric"].pop("__name__"), tuple(sorted(one["metric"].items())),
                    *np.array(one["values"], dtype=np.float64).T) for one in found]  # fmt: skip


def seconds_of(timing: Timing) -> Mapping[str, float]:
    """What the windows' names stand for."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

    def seconds(duration: str) -> float:
        number = duration.rstrip("msh")
        return float(number) * units[duration.removeprefix(number)]

    return {window.name: seconds(timing.range(window)) for window in (SHORT, HOUR, DAY, WEEK)}


def settled(scraped: Iterable[Sampled], evaluations: Iterable[float]) -> list[float]:
    """The evaluations that saw every scrape begun before them: it had ended, and was kept, a moment before."""
    targets: dict[Labels, Sampled] = {one.labels: one for one in scraped if one.name == "scrape_duration_seconds"}

    def clear(moment: float) -> bool:
        for one in targets.values():
            (before,) = np.nonzero(one.moments <= moment)
            if not len(before) or one.moments[before[-1]] + one.readings[before[-1]] + MARGIN > moment:
                return False
        return True

    return [moment for moment in evaluations if clear(moment)]


def recorded_at(series: Iterable[Sampled], moment: float) -> RULES:
    """The values that rules were given at an evaluation, by name and labels."""
    found: RULES = {}
    for one in series:
        (at,) = np.nonzero(np.abs(one.moments - moment) < 1e-4)
        if len(at):
            found.setdefault(one.name, {})[one.labels] = float(one.readings[at[0]])
    return found
