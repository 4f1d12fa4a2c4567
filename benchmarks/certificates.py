"""Does the promise of a certificate hold? A simulation with known truth.

    python -m benchmarks.certificates [--repetitions 2000] [--out certificates.json]

Images of K classes have logits around their class's centre; adjusted probabilities of the targeted classes are what
`certify_targets` sees, true recall is measured on a large sample of each class. In every cell (n held-out images a
class, target recall, one or three joint targets, flag or label, ties or none, groups or none, shifted priors or not)
the table gives the share of repetitions in which a threshold was issued and missed its target: it must not exceed
δ = 0.05 by more than 3.5 standard errors. Cells in which nothing can be certified must answer NotCertifiable, and
the last column says how often the empirical threshold (the largest that keeps the target on the same images) misses.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

from decision import Holdout, NotCertifiable, softmax
from decision.certificates import Target, certify_targets, images_needed

DELTA = 0.05
N = (20, 59, 100, 500)
RECALLS = (0.8, 0.9, 0.95, 0.99)
TRUTH = 200_000
PER_GROUP = 3
SEPARATION = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.monotonic()
    rows = []
    for k in (2, 12):
        for targets, covers, ties, grouped, shifted in itertools.product(
            (1, 3) if k > 3 else (1,), ("flag", "label"), (False, True), (False, True), (False, True)
        ):
            if covers == "label" and targets == 1:
                continue  # the first class of an order has no earlier one: flag and label are the same
            world = World(k, targets, ties=ties, grouped=grouped, shifted=shifted)
            for n, recall in itertools.product(N, RECALLS):
                rows.append(world.cell(n, recall, covers, given.repetitions))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    bound = DELTA + 3.5 * np.sqrt(DELTA * (1 - DELTA) / given.repetitions)
    broken = [row for row in rows if row["missed"] > bound or row["wrong"]]
    seconds = time.monotonic() - begun
    print(f"\n{len(rows)} cells, {given.repetitions} repetitions, {seconds:.0f} s; {len(broken)} cells broken; "
          f"largest share missed {max(row['missed'] for row in rows):.4f}, bound {bound:.4f}")  # fmt: skip
    return int(bool(broken))


class World:
    """K Gaussian classes, the targeted ones the rarest (the most frequent when shifted), and the truth of each."""

    def __init__(self, k: int, targets: int, *, ties: bool, grouped: bool, shifted: bool) -> None:
        self.k, self.targets, self.ties, self.grouped, self.shifted = k, targets, ties, grouped, shifted
        self.rng = np.random.default_rng([k, targets, ties, grouped, shifted])
        source = np.geomspace(1, 50, k)
        target = source[::-1] if shifted else source
        self.priors = target / target.sum()
        self.truth = {j: np.sort(self.probabilities(j, TRUTH)[:, :targets], axis=0) for j in range(targets)}
        self.joint_truth = {j: self.probabilities(j, TRUTH)[:, :targets] for j in range(targets)}

    def probabilities(self, j: int, n: int) -> np.ndarray:
        """Adjusted probabilities `(n, K)` of n images of class j; related images share half of their noise."""
        noise = self.rng.normal(size=(n, self.k))
        if self.grouped and n % PER_GROUP == 0:
            shared = np.repeat(self.rng.normal(size=(n // PER_GROUP, self.k)), PER_GROUP, axis=0)
            noise = np.sqrt(0.5) * (noise + shared)
        p = softmax(2.0 * (noise + SEPARATION * np.eye(self.k)[j]) + np.log(self.priors))
        return np.ceil(p * 50) / 50 if self.ties else p

    def cell(self, n: int, recall: float, covers: str, repetitions: int) -> dict:
        order = [Target(j, str(j), recall) for j in range(self.targets)]
        size = n * PER_GROUP if self.grouped else n
        labels = np.repeat(np.arange(self.targets), size)
        groups = np.arange(len(labels)) // (PER_GROUP if self.grouped else 1)
        holdout = Holdout(np.zeros((len(labels), self.k)), labels, np.full(len(labels), "tune"), groups)
        issued = missed = naive_missed = 0
        for _ in range(repetitions):
            adjusted = np.concatenate([self.probabilities(j, size) for j in range(self.targets)])
            naive = [np.sort(adjusted[labels == j, j])[int(np.floor((1 - recall) * size))] for j in range(self.targets)]
            naive_missed += any(self.recall(j, t) < recall for j, t in enumerate(naive))
            try:
                found = certify_targets(order, holdout, adjusted, self.priors, confidence=1 - DELTA,
                                        covers=covers, seed=0)  # fmt: skip
            except NotCertifiable:
                continue
            issued += 1
            thresholds = [certificate.threshold for certificate in found]
            missed += any(self.kept(j, thresholds, covers) < recall for j in range(self.targets))
        needed = images_needed(recall, DELTA / self.targets)
        wrongly_issued = issued > 0 and n < needed
        wrongly_refused = issued < repetitions and n >= needed and covers == "flag"  # a label may be taken by others
        return {
            "K": self.k, "targets": self.targets, "covers": covers, "ties": self.ties, "grouped": self.grouped,
            "shifted": self.shifted, "n": n, "recall": recall, "issued": issued, "missed": missed / repetitions,
            "naive": naive_missed / repetitions, "wrong": wrongly_issued or wrongly_refused,
        }  # fmt: skip

    def recall(self, j: int, threshold: float) -> float:
        values = self.truth[j][:, j]
        return 1 - np.searchsorted(values, threshold) / len(values)

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
