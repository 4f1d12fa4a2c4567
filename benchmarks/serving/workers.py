"""What a second worker brings, beside what it brings a bare ASGI app.

    python -m benchmarks.serving.workers [--rounds 5] [--seconds 5] [--connections 64] [--out workers.json]

3 KB PNG, network tiny. One worker has a core, and wrk the other; two workers share both with wrk. Each server in turn,
with one worker and with two. Connections are not shared evenly between processes that accept from one socket: how many
the fuller worker had is shown.
"""

import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving.contenders import BARE, LOAD_CORE, OURS, Running, running
from benchmarks.serving.load import Measured, loaded
from benchmarks.serving.processes import connections
from benchmarks.serving.tables import closed, markdown, parser_of, spread
from benchmarks.serving.truth import Truth
from benchmarks.untrained import TINY, picture, untrained

Key = tuple[str, int]


def main() -> int:
    parser = parser_of("benchmarks.serving.workers", __doc__, rounds=5, seconds=5)
    parser.add_argument("--connections", type=int, default=64, help="default: 64")
    given = parser.parse_args()
    image = picture("PNG", 32, 32)
    found: dict[Key, list[Measured]] = {(one.name, n): [] for one in (BARE, OURS) for n in (1, 2)}
    fullest: dict[Key, list[float]] = {key: [] for key in found}
    with tempfile.TemporaryDirectory() as models, ExitStack() as stack:
        model = untrained(Path(models), TINY, 32)
        servers = {(one.name, n): stack.enter_context(running(one, model, workers=n))
                   for one in (BARE, OURS) for n in (1, 2)}  # fmt: skip
        for round_ in range(-1, given.rounds):
            for key, server in servers.items():
                Truth(model).check(server, image)
                shares: list[int] = []
                seen = _shared(server, image, given.connections, 1 if round_ < 0 else given.seconds, key[1], shares)
                if round_ >= 0:
                    found[key].append(seen)
                    fullest[key].append(max(shares))
    print(table(found, fullest, given.connections), flush=True)
    document = [{"server": key[0], "workers": key[1], "seen": [asdict(one) for one in many], "fullest": fullest[key]}
                for key, many in found.items()]  # fmt: skip
    closed({"runs": document}, given.out, f"Medians (least, most) of {given.rounds} rounds of {given.seconds:g} s")
    return 0


def _shared(server: Running, image: bytes, n: int, seconds: float, workers: int, shares: list[int]) -> Measured:
    """The load, and in its midst a count of connections."""
    timer = threading.Timer(seconds / 2, lambda: shares.extend(connections(server)))
    timer.start()
    core = LOAD_CORE if workers == 1 else None
    seen = loaded(server, server.contender.request(image), connections=n, seconds=seconds, core=core)
    timer.join()
    return seen


def table(found: dict[Key, list[Measured]], fullest: dict[Key, list[float]], n: int) -> str:
    """A row a server; two workers beside one of the same round, and that beside the bare app's."""
    gains = {name: [two.rate / one.rate for one, two in zip(found[name, 1], found[name, 2], strict=True)]
             for name in (BARE.name, OURS.name)}  # fmt: skip
    rows = [[name, spread([one.rate for one in found[name, 1]], 0), spread([one.rate for one in found[name, 2]], 0),
             spread(own), spread([a / b for a, b in zip(own, gains[BARE.name], strict=True)]),
             spread([one.p99 for one in found[name, 2]], 1), spread(fullest[name, 2], 0),
             sum(one.failed for key in ((name, 1), (name, 2)) for one in found[key])]
            for name, own in gains.items()]  # fmt: skip
    header = ["server", "1 worker, requests/s", "2 workers, requests/s", "2 workers of 1", "that of bare ASGI's",
              "2 workers, p99, ms", "connections of the fuller", "failed"]  # fmt: skip
    return markdown(f"A second worker, {n} connections, 3 KB PNG, tiny", header, rows)


if __name__ == "__main__":
    sys.exit(main())
