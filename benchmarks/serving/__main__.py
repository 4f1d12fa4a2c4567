"""Equipoise beside other ways to serve the same network, in turns in one run; ratios to a bare ASGI app.

    python -m benchmarks.serving [--rounds 5] [--seconds 5] [--only NAME] [--case CASE] [--out serving.json]

One worker on one core, the load on the other. The bare app reads, decodes, infers and answers, and nothing else;
Equipoise also calibrates, adjusts, decides, counts, names and keeps each answer. All have the same network, decoder,
options of onnxruntime and of the allocator, and before each round every server answers one request, whose probabilities
must be those of the network, of Equipoise those of its policy. Closed loop by wrk, at one connection by a client that
times each request; open loop at constant rates, the highest with p99 of all that was due ≤ 10 ms. Peers live in
environments of their own, which python -m benchmarks.serving.peers makes; who has none is left out, and named.
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving import rate
from benchmarks.serving.contenders import BARE, ENVIRONMENTS, Running, chosen, running
from benchmarks.serving.load import Measured, loaded
from benchmarks.serving.pinned import on_core, plan
from benchmarks.serving.tables import closed, markdown, parser_of, spread
from benchmarks.serving.truth import Truth
from benchmarks.untrained import TINY, picture, untrained

CASES = {
    "3 KB PNG, tiny": (TINY, ("PNG", 32, 32), 16),
    "3 KB PNG, tiny, 1 connection": (TINY, ("PNG", 32, 32), 1),
    "640×480 JPEG, tiny": (TINY, ("JPEG", 640, 480), 16),
    "3 KB PNG, allcnn": ("allcnn", ("PNG", 32, 32), 16),
    "3 KB PNG, tiny, highest rate": (TINY, ("PNG", 32, 32), None),
}


def main() -> int:
    parser = parser_of("benchmarks.serving", __doc__, rounds=5, seconds=5)
    parser.add_argument("--only", action="append", help="a server's name; may be repeated; the bare app runs always")
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where peers have theirs")
    given = parser.parse_args()
    contenders, document = chosen(given.only, given.environments), {}
    for case in given.case or CASES:
        network, (kind, width, height), connections = CASES[case]
        image = picture(kind, width, height)
        with tempfile.TemporaryDirectory() as models, ExitStack() as stack:
            model = untrained(Path(models), network, 32)
            servers = [stack.enter_context(running(one, model, environments=given.environments)) for one in contenders]
            truth = Truth(model)
            if connections is None:
                searches = [searched(servers, truth, image, given.seconds) for _ in range(given.rounds)]
                document[case] = [rate.as_json(one) for one in searches]
                print(rates_table(case, searches), flush=True)
            else:
                found = rounds(servers, truth, image, connections, given.rounds, given.seconds)
                document[case] = {name: [asdict(one) for one in many] for name, many in found.items()}
                print(table(case, found), flush=True)
    closed(document, given.out, f"Medians (least, most) of {given.rounds} rounds of {given.seconds:g} s")
    return 0


def rounds(
    servers: Sequence[Running], truth: Truth, image: bytes, connections: int, n: int, seconds: float
) -> dict[str, list[Measured]]:  # fmt: skip
    """Each server in turn, n times, after a moment of warming up."""
    found: dict[str, list[Measured]] = defaultdict(list)
    for server in servers:
        closed_loop(server, image, connections, 1)
    for _ in range(n):
        for server in servers:
            truth.check(server, image)
            found[server.contender.name].append(closed_loop(server, image, connections, seconds))
    return found


def closed_loop(server: Running, image: bytes, connections: int, seconds: float) -> Measured:
    """By wrk, or at one connection by a client that does not correct what it saw."""
    request = server.contender.request(image)
    if connections == 1:
        return Measured(**on_core("benchmarks.serving.one", plan(server, request, seconds=seconds)))
    return loaded(server, request, connections=connections, seconds=seconds)


def searched(servers: Sequence[Running], truth: Truth, image: bytes, seconds: float) -> Any:
    for server in servers:
        truth.check(server, image)
    return rate.highest(servers, image, seconds)


def table(case: str, found: dict[str, list[Measured]]) -> str:
    """A row a server: its ratio to the bare app of the same round, and medians."""
    bare, rows = found[BARE.name], []
    for name, many in found.items():
        ratios = [one.rate / other.rate for one, other in zip(many, bare, strict=True)]
        more = [one.p50 - other.p50 for one, other in zip(many, bare, strict=True)]
        tails = [one.p99 / one.p50 for one in many]
        pauses = [one.longest - other.longest for one, other in zip(many, bare, strict=True)]
        middle = [spread([getattr(one, key) for one in many], digits).split(" ")[0]
                  for key, digits in (("rate", 0), ("p50", 2), ("p99", 2), ("longest", 0))]  # fmt: skip
        rows.append([name, spread(ratios), *middle, spread(tails, 1), spread(more), spread(pauses, 0),
                     sum(one.failed for one in many)])  # fmt: skip
    header = ["server", "of bare ASGI", "requests/s", "p50, ms", "p99, ms", "longest, ms", "p99 / p50",
              "p50 − bare's, ms", "longest − bare's, ms", "failed"]  # fmt: skip
    return markdown(case, header, rows)


def rates_table(case: str, searches: Sequence[Any]) -> str:
    """A row a server: the highest rate of each search."""
    rows = []
    for name in searches[0]:
        rates = [one[name][0] for one in searches]
        ratios = [own / one[BARE.name][0] if one[BARE.name][0] else float("nan")
                  for own, one in zip(rates, searches, strict=True)]  # fmt: skip
        late = max(tried.late for one in searches for tried in one[name][1])
        rows.append([name, spread(ratios), spread(rates, 0), f"{late:.2f}"])
    header = ["server", "of bare ASGI", "requests/s", "generator late at p99, ms, at most"]
    return markdown(f"{case} with p99 ≤ {rate.BOUND_MS:g} ms", header, rows)


if __name__ == "__main__":
    sys.exit(main())
