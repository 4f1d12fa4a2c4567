"""More than can be answered: what is still answered, what a refusal costs, and whether the rest of the service answers.

    python -m benchmarks.serving.overload [--seconds 60] [--case CASE] [--out overload.json]

Open loop, one worker on one core: ResNet-18 at 224×224 at ten times its peak, the network tiny at twice its. The peak
is the best goodput of closed loops and of open ones a little above them. Beside the load, /config and /readyz are asked
every 0.2 s by another client. What a refusal costs is CPU time of the worker, less what it uses under the probes alone.
Where answers are made on threads of their own it is the event loop's thread's: a little too much, as that thread also
receives what is answered. Else it is all threads', less the answers at what an answer costs in a closed loop. Beside
it, a bare app that refuses everything, offered, asked and reckoned the same: its answers to the probes say how late the
client itself is.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.serving.contenders import OURS, REFUSING, Running, running
from benchmarks.serving.load import loaded
from benchmarks.serving.open_loop import WARM_SECONDS, Seen, percentile
from benchmarks.serving.probe import probing
from benchmarks.serving.processes import cpu_seconds, loop_seconds
from benchmarks.serving.rate import offered
from benchmarks.serving.tables import closed, markdown, parser_of
from benchmarks.serving.truth import Truth
from benchmarks.untrained import TINY, picture, untrained

PROBED = ("/config", "/readyz")
SLIGHTLY = (1.0, 1.5)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Case:
    """A network with the side of its images, how often its peak is offered, and connections that may find the peak."""

    network: str
    side: int
    factor: float
    connections: tuple[int, ...]
    beside: bool  # answers are made on threads beside the event loop


CASES = {
    "ResNet-18 at 224": Case("resnet18", 224, 10.0, (2, 8), True),
    "tiny at 32": Case(TINY, 32, 2.0, (16, 64), False),
}


@dataclass(frozen=True)
class Overloaded:
    """What was measured. CPU times in microseconds; `under` is what came of the rates tried for the peak."""

    peak: float
    under: list[Seen]
    seen: Seen
    probes: dict[str, list[float]]
    answer: float
    refusal: float
    bare: float
    bare_seen: Seen


def main() -> int:
    parser = parser_of("benchmarks.serving.overload", __doc__, seconds=60)
    parser.add_argument("--case", action="append", choices=CASES)
    given = parser.parse_args()
    found = {name: overloaded(CASES[name], given.seconds) for name in given.case or CASES}
    print(table(found), flush=True)
    print(probes(found), flush=True)
    closed({name: asdict(one) for name, one in found.items()}, given.out, f"{given.seconds:g} s")
    return 0


def overloaded(case: Case, seconds: float) -> Overloaded:
    image, part = picture("PNG", case.side, case.side), max(1.0, seconds / 6)
    with tempfile.TemporaryDirectory() as models:
        model = untrained(Path(models), case.network, case.side)
        with running(OURS, model) as server, running(REFUSING, model) as refusing:
            Truth(model).check(server, image)
            best, answer = closed_loops(server, image, case, part)
            under = [offered(server, image, factor * best, part) for factor in SLIGHTLY]
            peak = max(best, *(one.goodput for one in under))
            clock = loop_seconds if case.beside else cpu_seconds
            with probing(server, PROBED):
                _, idle = _used(clock, server, lambda: time.sleep(part))
            with probing(server, PROBED) as probed:
                seen, cpu = _used(clock, server, lambda: offered(server, image, case.factor * peak, seconds))
            with probing(refusing, PROBED[:1]):
                _, bare_idle = _used(cpu_seconds, refusing, lambda: time.sleep(part))
            with probing(refusing, PROBED[:1]) as control:
                bare_seen, bare = _used(
                    cpu_seconds, refusing, lambda: offered(refusing, image, case.factor * peak, part)
                )
            probed[f"beside {REFUSING.name}"] = control[PROBED[0]]
    answers = 0.0 if case.beside else answer * seen.goodput * _wall(seen)
    refusal = of_a_refusal(cpu - answers, idle / part, seen)
    return Overloaded(
        peak, under, seen, probed, 1e6 * answer, 1e6 * refusal,
        1e6 * of_a_refusal(bare, bare_idle / part, bare_seen), bare_seen,
    )  # fmt: skip


def of_a_refusal(cpu: float, idle: float, seen: Seen) -> float:
    """The CPU seconds of one, out of those of a whole load, less the `idle` ones of each second under the probes."""
    wall = _wall(seen)
    return (cpu - idle * wall) * seen.seconds / (max(1, seen.refused) * wall)


def closed_loops(server: Running, image: bytes, case: Case, seconds: float) -> tuple[float, float]:
    """The best rate of good answers, and the CPU seconds of one there."""
    request, found = server.contender.request(image), []
    for connections in case.connections:
        loaded(server, request, connections=connections, seconds=1)
        load = partial(loaded, server, request, connections=connections, seconds=seconds)
        seen, cpu = _used(cpu_seconds, server, load)
        found.append((seen.rate, cpu / (seen.answered - seen.failed)))
    return max(found)


def _used(clock: Callable[[Running], float], server: Running, do: Callable[[], Found]) -> tuple[Found, float]:
    """What came of it, and the CPU seconds it took the server."""
    before = clock(server)
    return do(), clock(server) - before


def _wall(seen: Seen) -> float:
    """Seconds of load, with those of warming up: the CPU time is of both."""
    return seen.seconds + WARM_SECONDS


def table(found: dict[str, Overloaded]) -> str:
    rows = [[
        name, f"{one.peak:,.0f}", f"{one.seen.rate:,.0f}", f"{one.seen.goodput:,.0f}",
        f"{one.seen.goodput / one.peak:.2f}", f"{one.seen.p99:.0f}", f"{one.seen.refused:,}", one.seen.failed,
        f"{one.answer:.0f}", f"{one.refusal:.0f}", f"{one.bare:.0f}", f"{one.refusal / one.bare:.2f}",
        f"{one.seen.late:.2f}",
    ] for name, one in found.items()]  # fmt: skip
    header = ["case", "peak/s", "offered/s", "goodput/s", "of the peak", "p99 of the answered, ms", "refused", "failed",
              "an answer, CPU µs", "a refusal, CPU µs", "a bare refusal, CPU µs", "of the bare one",
              "generator late at p99, ms"]  # fmt: skip
    return markdown("Overload, open loop", header, rows)


def probes(found: dict[str, Overloaded]) -> str:
    rows = [[name, path, len(times), *(f"{percentile(np.array(times), share):.1f}" for share in (50, 99, 100)),
             sum(time > 100 for time in times)]
            for name, one in found.items() for path, times in one.probes.items()]  # fmt: skip
    return markdown(
        "Beside the load", ["case", "route", "asked", "p50, ms", "p99, ms", "longest, ms", "over 100 ms"], rows
    )


if __name__ == "__main__":
    sys.exit(main())
