"""The highest rate that a server bears with p99 ≤ 10 ms: found by halving a bracket of rates, open loop, in turns."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.serving.contenders import Running
from benchmarks.serving.load import loaded
from benchmarks.serving.open_loop import Seen
from benchmarks.serving.pinned import on_core, plan

BOUND_MS = 10.0
STEPS = 6  # after the lowest
LOWEST, HIGHEST = 0.25, 1.1  # of what a closed loop reaches


@dataclass
class Bracket:
    """Rates between which the highest that passes lies: `low` is tried first, and below it if it fails."""

    low: float
    high: float
    begun: bool = False

    @property
    def next(self) -> float:
        """The rate to try."""
        return (self.low + self.high) / 2 if self.begun else self.low

    def tried(self, passed: bool) -> None:
        """What became of `next`."""
        if passed:
            self.low = self.next
        else:
            self.low, self.high = (self.low if self.begun else 0.0), self.next
        self.begun = True


def highest(servers: Sequence[Running], image: bytes, seconds: float) -> dict[str, tuple[float, list[Seen]]]:
    """By server: the highest rate that passed, 0 where none did, and all that was tried.

    A rate that fails is tried once more: one stall of the machine is no verdict on a server.
    """
    brackets, tried = {}, {server.contender.name: list[Seen]() for server in servers}
    for server in servers:
        most = loaded(server, server.contender.request(image), connections=16, seconds=seconds).rate
        brackets[server.contender.name] = Bracket(LOWEST * most, HIGHEST * most)
    for _ in range(1 + STEPS):
        for server in servers:
            bracket, own = brackets[server.contender.name], tried[server.contender.name]
            for _ in range(2):
                own.append(offered(server, image, bracket.next, seconds))
                if passed := own[-1].p99_of_all <= BOUND_MS:
                    break
            bracket.tried(passed)
    return {name: (max((one.rate for one in own if one.p99_of_all <= BOUND_MS), default=0.0), own)
            for name, own in tried.items()}  # fmt: skip


def offered(server: Running, image: bytes, rate: float, seconds: float, **more: int) -> Seen:
    """What became of so many requests a second."""
    request = server.contender.request(image)
    return Seen(**on_core("benchmarks.serving.open_loop", plan(server, request, rate=rate, seconds=seconds, **more)))


def as_json(found: dict[str, tuple[float, list[Seen]]]) -> dict[str, object]:
    return {name: {"highest": rate, "tried": [asdict(one) for one in own]} for name, (rate, own) in found.items()}
