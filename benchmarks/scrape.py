"""What a scrape of many classes costs, beside prometheus_client's own merge of the same sums, in turns in one run.

    python -m benchmarks.scrape [--classes 1000] [--workers 2] [--rounds 9]

Each worker's sums of answers and labels are written twice: into the files that Equipoise keeps, and into those of
prometheus_client's multi-process mode. Ours: add up, make metrics, render. Theirs: MultiProcessCollector, render. The
texts must agree. The ratio may be 1.2; exit code 1 above.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

BOUND = 1.2
MODEL = ("many", "1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)  # as a worker of its own: its seed
    options = parser.parse_args()
    if options.fill is not None:
        fill(options.classes, options.fill)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        for seed in range(options.workers):
            again = [sys.executable, "-m", "benchmarks.scrape", "--classes", str(options.classes), "--fill", str(seed)]
            subprocess.run(again, check=True)
        return compare(Path(folder), options.classes, options.workers, options.rounds)


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"class-{k:04d}" for k in range(classes))


def fill(classes: int, seed: int) -> None:
    """A worker's sums, in both kinds of files."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from service.families import CLOSED, FAMILIES, WITHOUT_MODEL, layout
    from service.metrics import MODEL as LABELS
    from service.metrics import folder
    from service.tally import Tally

    rng, registry = np.random.default_rng(seed), CollectorRegistry()
    tally = Tally(folder(), os.getpid(), layout(classes))
    axes = dict(CLOSED) | {"class": names(classes)}
    for family in FAMILIES:
        own = () if family.name in WITHOUT_MODEL else LABELS
        block = tally.block(family.name)
        labels = [(*(MODEL if own else ()), *one) for one in product(*(axes[axis] for axis in family.axes))]
        rows = block.reshape(len(labels), -1)
        if family.buckets:
            histogram = Histogram(
                family.name, family.help, (*own, *family.axes), buckets=family.buckets, registry=registry
            )
            for row, one in zip(rows, labels, strict=True):
                (histogram.labels(*one) if one else histogram).observe(0.25)
                row[np.searchsorted(family.buckets, 0.25)] += 1.0
                row[-1] += 0.25
        else:
            counter = Counter(family.name, family.help, (*own, *family.axes), registry=registry)
            for row, one in zip(rows, labels, strict=True):
                row[0] = rng.integers(0, 1_000_000) / 8
                (counter.labels(*one) if one else counter).inc(row[0])


def compare(folder: Path, classes: int, workers: int, rounds: int) -> int:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    from service.exposition import TallyCollector
    from service.rows import Rows

    bundle: Any = SimpleNamespace(manifest=SimpleNamespace(name=MODEL[0], version=MODEL[1]))
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(TallyCollector(folder, bundle, Rows(names(classes), np.arange(classes))))
    MultiProcessCollector(theirs, path=str(folder))
    texts = [cast("bytes", generate_latest(registry)) for registry in (ours, theirs)]
    assert samples(texts[0]) == samples(texts[1]), "the two say different things"
    seconds = [(timed(lambda: generate_latest(ours)), timed(lambda: generate_latest(theirs))) for _ in range(rounds)]
    ratios = [mine / other for mine, other in seconds]
    mine, other = (1000 * statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(ratios)
    print("| classes | workers | series | ours, ms | prometheus_client, ms | ratio | bound |")
    print("|---|---|---|---|---|---|---|")
    spread = f"{ratio:.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
    print(f"| {classes:,} | {workers} | {len(samples(texts[0])):,} | {mine:.0f} | {other:.0f} | {spread} | {BOUND} |")
    return int(ratio > BOUND)


def samples(text: bytes) -> dict[tuple[str, frozenset[str]], float]:
    found = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.partition("{")
            found[name, frozenset(labels.rstrip("}").split(","))] = float(value)
    return found


def timed(do: Callable[[], object]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
