"""Windows and durations of the rules, all shortened by one factor for a rehearsal; names keep the nominal window."""

from dataclasses import dataclass

UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
SCRAPES_IN_RANGE = 4
"""What a range must hold so that one missed scrape leaves an increase."""


@dataclass(frozen=True)
class Window:
    """A nominal window: what rules are named by, and its seconds."""

    name: str
    seconds: float


HOUR, DAY, WEEK = Window("1h", 3600), Window("24h", 86_400), Window("7d", 604_800)
SHORT = Window("5m", 300)
DRIFT, FEEDBACK = (HOUR, DAY), (DAY, WEEK)


@dataclass(frozen=True)
class Timing:
    """How fast time goes: `scale` 60 makes an hour a minute; a scrape each `scrape` seconds, unscaled."""

    scale: float = 1.0
    scrape: float = 15.0

    def __post_init__(self) -> None:
        if not (self.scale >= 1 and self.scrape > 0):
            raise ValueError(f"expected scale >= 1 and scrape > 0, got {self.scale} and {self.scrape}")

    def duration(self, seconds: float) -> str:
        """A scaled duration in PromQL's words, to the millisecond."""
        return duration(seconds / self.scale)

    def range(self, window: Window) -> str:
        """A scaled window, never shorter than some scrapes."""
        return duration(max(window.seconds / self.scale, SCRAPES_IN_RANGE * self.scrape))

    def interval(self, window: Window) -> str:
        """How often the rules of a window are evaluated: often enough that none looks stale (5 minutes)."""
        nominal = 60 if window.seconds <= HOUR.seconds else 180
        return duration(max(nominal / self.scale, self.scrape if self.scale > 1 else 1))


def duration(seconds: float) -> str:
    """PromQL's word for it in the largest unit that divides it, to the millisecond."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return "0s"
    return next(f"{milliseconds // size}{unit}" for unit, size in UNITS if milliseconds % size == 0)
