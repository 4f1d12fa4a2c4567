"""Equipoise beside other ways to serve the same network, in turns in one run; ratios to a bare ASGI app.

    python -m benchmarks.serving [--rounds 5] [--seconds 5] [--only NAME] [--out serving.json]

One worker on one core, wrk on the other. The bare app reads, decodes, infers and answers, and nothing else; Equipoise
also calibrates, adjusts, decides, counts, names and keeps each answer. Before each round every server answers one
request, whose probabilities must be those of the network.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving.contenders import BARE, CONTENDERS, OURS, Running, running
from benchmarks.serving.load import Measured, asked_once, loaded
from benchmarks.untrained import picture, untrained
from training.config import Machine
from training.machine import commit, hardware

CASES = {
    "3 KB PNG, small": ("small", ("PNG", 32, 32), 16),
    "3 KB PNG, small, 1 connection": ("small", ("PNG", 32, 32), 1),
    "640×480 JPEG, small": ("small", ("JPEG", 640, 480), 16),
    "3 KB PNG, allcnn": ("allcnn", ("PNG", 32, 32), 16),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", action="append", help="a server's name; may be repeated; the bare app runs always")
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    chosen = [one for one in CONTENDERS if one is BARE or not given.only or one.name in given.only]
    found: dict[str, dict[str, list[Measured]]] = {}
    for case in given.case or CASES:
        network, (kind, width, height), connections = CASES[case]
        image = picture(kind, width, height)
        with tempfile.TemporaryDirectory() as models, ExitStack() as stack:
            model = untrained(Path(models), network, 32)
            servers = [stack.enter_context(running(one, model)) for one in chosen]
            found[case] = rounds(servers, image, connections, given.rounds, given.seconds)
        print(table(case, found[case]), flush=True)
    print(f"\nMedians of {given.rounds} rounds of {given.seconds:g} s; {hardware(Machine(accelerator='cpu'))}, "
          f"commit {commit()}.")  # fmt: skip
    if given.out:
        rows = {case: {name: [asdict(one) for one in many] for name, many in by.items()} for case, by in found.items()}
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def rounds(
    servers: list[Running], image: bytes, connections: int, n: int, seconds: float
) -> dict[str, list[Measured]]:  # fmt: skip
    """Each server in turn, n times, after a moment of warming up."""
    found: dict[str, list[Measured]] = defaultdict(list)
    truth = asked_once(servers[0], image)["probabilities"]
    for server in servers:
        loaded(server, image, connections=connections, seconds=1)
    for _ in range(n):
        for server in servers:
            answer = asked_once(server, image)
            assert server.contender is OURS or answer["probabilities"] == truth, server.contender.name
            found[server.contender.name].append(loaded(server, image, connections=connections, seconds=seconds))
    return found


def table(case: str, found: dict[str, list[Measured]]) -> str:
    lines = [f"\n**{case}**\n", "| server | of bare ASGI | requests/s | p50, ms | p99, ms | longest, ms | failed |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    bare = [one.rate for one in found[BARE.name]]
    for name, many in found.items():
        ratios = [one.rate / other for one, other in zip(many, bare, strict=True)]
        middle: dict[str, Any] = {key: statistics.median(getattr(one, key) for one in many)
                                  for key in ("rate", "p50", "p99", "longest")}  # fmt: skip
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
        lines.append(f"| {name} | {spread} | {middle['rate']:,.0f} | {middle['p50']:.2f} | {middle['p99']:.2f} | "
                     f"{middle['longest']:.0f} | {sum(one.failed for one in many)} |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
