"""Does the promise of a certificate hold, and what do other tools do? A simulation with known truth.

    python -m benchmarks.certificates [--repetitions 2000] [--runs 200] [--out certificates.json]

Images of K classes have logits around their class's centre; adjusted probabilities of the targeted classes are what
`certify_targets` sees, true recall is measured on a large sample of each class. In every cell (n held-out images a
class, target recall, one or three joint targets, flag or label, ties or none, groups or none, shifted priors or not)
the table gives the share of repetitions in which a threshold was issued and missed its target: it must not exceed
δ = 0.05 by more than 3.5 standard errors. Cells in which nothing can be certified must answer NotCertifiable, and
the last column says how often the empirical threshold (the largest that keeps the target on the same images) misses.
Then the same held-out images for scikit-learn and MAPIE: see benchmarks/certificate_peers.py. The exit status is 1
where the promise is broken, or where MAPIE issues a higher threshold than ours from the same images.

Every cell has its own seed, so the figures do not depend on the number of processes (one a core).
"""

import argparse
import functools
import itertools
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import certificate_peers as peers
from decision import Holdout, NotCertifiable, softmax
from decision.certificates import Target, certify_targets, images_needed

DELTA = 0.05
N = (20, 59, 100, 500)
RECALLS = (0.8, 0.9, 0.95, 0.99)
TRUTH = 200_000
PER_GROUP = 3
SEPARATION = 3.0


class Kind(NamedTuple):
    """What tells one simulated world from another."""

    k: int
    targets: int
    ties: bool
    grouped: bool
    shifted: bool


class Cell(NamedTuple):
    """One line of simulation: a world, and what is asked of it how often."""

    kind: Kind
    n: int
    recall: float
    covers: str
    repetitions: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([*self.kind, self.n, round(self.recall * 100), self.covers == "label"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="of each cell of ours")
    parser.add_argument("--runs", type=int, default=200, help="of each cell beside other tools")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        beside = pool.map(compare, peer_cells(given.runs))
        rows = list(pool.map(promise, cells(given.repetitions), chunksize=len(N) * len(RECALLS)))
        others = list(itertools.chain.from_iterable(beside))
    if given.out:
        given.out.write_text(json.dumps({"certificates": rows, "peers": others}, indent=1) + "\n")
    print(table(rows), peers.tables(others), sep="\n\n")
    bound = DELTA + 3.5 * np.sqrt(DELTA * (1 - DELTA) / given.repetitions)
    broken = [row for row in rows if row["missed"] > bound or row["wrong"]]
    beaten = peers.broken(others)
    print(f"\n{len(rows)} cells, {given.repetitions} repetitions; {len(broken)} cells broken; largest share missed "
          f"{max(row['missed'] for row in rows):.4f}, bound {bound:.4f}; beside other tools {len(others)} cells, "
          f"{given.runs} runs, {len(beaten)} broken; {time.monotonic() - begun:.0f} s")  # fmt: skip
    return int(bool(broken or beaten))


def cells(repetitions: int) -> list[Cell]:
    """Cells of one world follow each other: a process makes its truth once."""
    kinds = [Kind(k, m, *rest) for k, m in ((2, 1), (12, 1), (12, 3))
             for rest in itertools.product((False, True), repeat=3)]  # fmt: skip
    # the first class of an order has no earlier one: flag and label are the same
    return [Cell(kind, n, recall, covers, repetitions) for kind in kinds
            for covers in (("flag", "label") if kind.targets > 1 else ("flag",))
            for n, recall in itertools.product(N, RECALLS)]  # fmt: skip


def peer_cells(runs: int) -> list[Cell]:
    kinds = [Kind(2, 1, ties, grouped=False, shifted=False) for ties in (False, True)]
    return [Cell(kind, n, recall, "flag", runs) for kind in kinds for n, recall in itertools.product(N, RECALLS)]


def promise(cell: Cell) -> dict:
    return world(cell.kind).cell(cell)


def compare(cell: Cell) -> list[dict]:
    return peers.compare(world(cell.kind), cell.rng, cell.n, cell.recall, 1 - DELTA, cell.repetitions)


@functools.lru_cache(maxsize=2)
def world(kind: Kind) -> "World":
    return World(kind)


class World:
    """K Gaussian classes, the targeted ones the rarest (the most frequent when shifted), and the truth of each."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.ties = kind, kind.ties
        rng = np.random.default_rng(kind)
        source = np.geomspace(1, 50, kind.k)
        target = source[::-1] if kind.shifted else source
        self.priors = target / target.sum()
        targets = range(kind.targets)
        self.truth = {j: np.sort(self.probabilities(rng, j, TRUTH)[:, j]) for j in targets}
        self.joint_truth = {j: self.probabilities(rng, j, TRUTH)[:, : kind.targets] for j in targets}

    def probabilities(self, rng: np.random.Generator, j: int, n: int) -> np.ndarray:
        """Adjusted probabilities `(n, K)` of n images of class j; related images share half of their noise."""
        noise = rng.normal(size=(n, self.kind.k))
        if self.kind.grouped and n % PER_GROUP == 0:
            shared = np.repeat(rng.normal(size=(n // PER_GROUP, self.kind.k)), PER_GROUP, axis=0)
            noise = np.sqrt(0.5) * (noise + shared)
        p = softmax(2.0 * (noise + SEPARATION * np.eye(self.kind.k)[j]) + np.log(self.priors))
        return np.ceil(p * 50) / 50 if self.kind.ties else p

    def cell(self, cell: Cell) -> dict:
        (kind, n, recall, covers, repetitions), rng = cell, cell.rng
        order = [Target(j, str(j), recall) for j in range(kind.targets)]
        size = n * PER_GROUP if kind.grouped else n
        labels = np.repeat(np.arange(kind.targets), size)
        groups = np.arange(len(labels)) // (PER_GROUP if kind.grouped else 1)
        holdout = Holdout(np.zeros((len(labels), kind.k)), labels, np.full(len(labels), "tune"), groups)
        issued = missed = naive_missed = 0
        for _ in range(repetitions):
            adjusted = np.concatenate([self.probabilities(rng, j, size) for j in range(kind.targets)])
            naive = [peers.empirical_threshold(adjusted[labels == j, j], recall) for j in range(kind.targets)]
            naive_missed += any(self.recall(j, t) < recall for j, t in enumerate(naive))
            try:
                found = certify_targets(order, holdout, adjusted, self.priors, confidence=1 - DELTA,
                                        covers=covers, seed=0)  # fmt: skip
            except NotCertifiable:
                continue
            issued += 1
            thresholds = [certificate.threshold for certificate in found]
            missed += any(self.kept(j, thresholds, covers) < recall for j in range(kind.targets))
        needed = images_needed(recall, DELTA / kind.targets)
        wrongly_issued = issued > 0 and n < needed
        wrongly_refused = issued < repetitions and n >= needed and covers == "flag"  # a label may be taken by others
        return {
            "K": kind.k, "targets": kind.targets, "covers": covers, "ties": kind.ties, "grouped": kind.grouped,
            "shifted": kind.shifted, "n": n, "recall": recall, "issued": issued, "missed": missed / repetitions,
            "naive": naive_missed / repetitions, "wrong": wrongly_issued or wrongly_refused,
        }  # fmt: skip

    def recall(self, j: int, threshold: float) -> float:
        return 1 - float(np.searchsorted(self.truth[j], threshold)) / TRUTH

    def kept(self, j: int, thresholds: list[float], covers: str) -> float:
        if covers == "flag" or j == 0:
            return self.recall(j, thresholds[j])
        p = self.joint_truth[j]
        return float(np.mean((p[:, j] >= thresholds[j]) & ~(p[:, :j] >= thresholds[:j]).any(axis=1)))


def table(rows: list[dict]) -> str:
    """The largest share missed over ties, groups and shifts, for each n and target."""
    lines = [
        "| K | targets | covers | n | recall | issued | missed at most | empirical threshold misses |",
        "|---" * 8 + "|",
    ]
    keys = ("K", "targets", "covers", "n", "recall")
    for key, group in itertools.groupby(
        sorted(rows, key=lambda r: [r[k] for k in keys]), lambda r: [r[k] for k in keys]
    ):
        cells = list(group)
        issued = {row["issued"] for row in cells}
        naive = [row["naive"] for row in cells]
        said = "none" if issued == {0} else f"{min(issued)} to {max(issued)}" if len(issued) > 1 else str(*issued)
        missed = "not certifiable" if issued == {0} else f"{max(row['missed'] for row in cells):.4f}"
        lines.append(f"| {' | '.join(map(str, key))} | {said} | {missed} | {min(naive):.2f} to {max(naive):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
