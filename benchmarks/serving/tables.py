"""What the commands print and write: Markdown tables, and all that was measured as JSON."""

import json
import math
import statistics
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.config import Machine
from training.machine import commit, hardware


def parser_of(module: str, description: str | None, *, seconds: float, rounds: int = 0) -> ArgumentParser:
    """With what all commands take; `--rounds` where there are some."""
    parser = ArgumentParser(f"python -m {module}", description=description, formatter_class=RawDescriptionHelpFormatter)
    if rounds:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of one measurement (default: {seconds:g})")
    parser.add_argument("--out", type=Path, help="all that was measured, as JSON")
    return parser


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (least, most)."""
    return "{:,.{d}f} ({:,.{d}f}, {:,.{d}f})".format(statistics.median(values), min(values), max(values), d=digits)


def markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under a title in bold."""
    lines = [f"\n**{title}**\n", _row(header), "|---" * len(header) + "|", *map(_row, rows)]
    return "\n".join(lines)


def closed(document: dict[str, Any], out: Path | None, what: str) -> None:
    """The line under the tables, and the file."""
    machine = {"hardware": hardware(Machine(accelerator="cpu")), "commit": commit()}
    print(f"\n{what}; {machine['hardware']}, commit {machine['commit']}.")
    if out:
        out.write_text(json.dumps(machine | {"measured": _finite(document)}, indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no infinity: what never came is null."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
