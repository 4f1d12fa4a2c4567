"""A million requests: whether memory and the tail stay as they are, beside the bare app in turns.

    python -m benchmarks.serving.soak [--requests 1000000] [--seconds 10] [--alone] [--out soak.json]

16 connections, 3 KB PNG, network tiny, one worker on one core; windows of --seconds, each server in turn, until
Equipoise has answered as many. Shown: resident memory after 50,000 requests and at the end, of the worker and of the
arbiter; p99 of the first and the last windows; the longest pause of Equipoise beyond the bare app's in the same round.
With --alone, Equipoise's windows follow each other without a break: what a leak or a growing heap would need.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.serving.contenders import BARE, OURS, Running, running
from benchmarks.serving.load import Measured, loaded
from benchmarks.serving.processes import Memory, memory
from benchmarks.serving.tables import closed, markdown, parser_of, spread
from benchmarks.serving.truth import Truth
from benchmarks.untrained import TINY, picture, untrained

SETTLED = 50_000
CONNECTIONS = 16


@dataclass(frozen=True)
class Window:
    """What was seen in one, and what is held after it; `answered` counts all windows so far."""

    seen: Measured
    held: Memory
    answered: int


def main() -> int:
    parser = parser_of("benchmarks.serving.soak", __doc__, seconds=10)
    parser.add_argument("--requests", type=int, default=1_000_000, help="default: 1,000,000")
    parser.add_argument("--alone", action="store_true", help="without the bare app")
    given = parser.parse_args()
    image = picture("PNG", 32, 32)
    with tempfile.TemporaryDirectory() as models, ExitStack() as stack:
        model = untrained(Path(models), TINY, 32)
        servers = [stack.enter_context(running(one, model)) for one in ([OURS] if given.alone else [BARE, OURS])]
        for server in servers:
            Truth(model).check(server, image)
        found = soaked(servers, image, given.requests, given.seconds)
    print(table(found), flush=True)
    if not given.alone:
        print(pauses(found[BARE.name], found[OURS.name]), flush=True)
    closed({name: [asdict(one) for one in many] for name, many in found.items()}, given.out,
           f"{len(found[OURS.name])} windows of {given.seconds:g} s each")  # fmt: skip
    return 0


def soaked(servers: Sequence[Running], image: bytes, requests: int, seconds: float) -> dict[str, list[Window]]:
    """Windows in turns until the last server has answered enough."""
    found: dict[str, list[Window]] = {server.contender.name: [] for server in servers}
    while not (own := found[OURS.name]) or own[-1].answered < requests:
        for server in servers:
            own = found[server.contender.name]
            seen = loaded(server, server.contender.request(image), connections=CONNECTIONS, seconds=seconds)
            before = own[-1].answered if own else 0
            own.append(Window(seen, memory(server), before + seen.answered))
    return found


def table(found: dict[str, list[Window]]) -> str:
    """A row a server; the first and the last windows are a sixth of all, at least one."""
    rows = []
    for name, many in found.items():
        sixth = max(1, len(many) // 6)
        settled = next((one for one in many if one.answered >= SETTLED), many[-1])
        p99 = [statistics.median(one.seen.p99 for one in part) for part in (many[:sixth], many[-sixth:])]
        rows.append([
            name, f"{many[-1].answered:,}", spread([one.seen.rate for one in many], 0),
            spread([one.seen.p50 for one in many]), spread([one.seen.p99 for one in many]),
            f"{p99[0]:.2f} → {p99[1]:.2f}", spread([one.seen.longest for one in many], 0),
            f"{settled.held.worker:.0f} → {many[-1].held.worker:.0f}",
            f"{many[-1].held.worker / settled.held.worker - 1:+.1%}", f"{many[-1].held.others:.0f}",
            sum(one.seen.failed for one in many),
        ])  # fmt: skip
    header = ["server", "requests", "requests/s", "p50, ms", "p99, ms", "p99, first → last", "longest, ms",
              f"worker after {SETTLED:,} → at the end, MiB", "growth", "arbiter, MiB", "failed"]  # fmt: skip
    return markdown("Soak, 16 connections, 3 KB PNG, tiny", header, rows)


def pauses(bare: Sequence[Window], ours: Sequence[Window]) -> str:
    """Ours beside the bare app's, round by round, and the memory of a worker beside its."""
    more = [own.seen.longest - other.seen.longest for own, other in zip(ours, bare, strict=True)]
    tails = [own.seen.p99 / own.seen.p50 for own in ours]
    ratio = ours[-1].held.worker / bare[-1].held.worker
    return markdown(
        "Equipoise beside the bare app, by round",
        ["longest pause − bare's, ms", "p99 / p50", "a worker's memory of the bare app's"],
        [[spread(more, 0), spread(tails, 1), f"{ratio:.2f}"]],
    )


if __name__ == "__main__":
    sys.exit(main())
