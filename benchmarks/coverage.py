"""Do the intervals of a preview hold the truth 95% of the time? A simulation over a grid of class mixes.

    python -m benchmarks.coverage [--repetitions 4000] [--out coverage.json]

Each cell draws, from binomial and multinomial laws that are known, what two policies call of n_j test images of
each of K classes, and counts how often each interval of `decision.mixtures` and `decision.differences` holds the
truth. A cell is judged where at least 5 false calls are expected of each policy, and 5 of the events that make the
value uncertain, counted in the weight that an unseen one would have (of a difference: images that only the one
calls, and images that only the other does); the other cells are listed beside. A cell is off where Clopper-Pearson
covers below 0.95 less three standard errors, or another interval below 0.93 or above 0.99; exit code 1 where that
is beyond these again.
"""

import argparse
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from decision.differences import (
    Changes,
    Pairs,
    mean_difference,
    precision_difference,
    recall_difference,
    share_difference,
)
from decision.intervals import Intervals, recall
from decision.mixtures import Strata, mean, precision, share

EXACT = ("recall",)
SINGLE = ("recall", "precision", "share", "cost")
PAIRED = ("recall difference", "precision difference", "share difference", "cost difference")
ENOUGH = 5.0
MOST_COSTLY = 5.0


@dataclass(frozen=True)
class Cell:
    """One world: K classes with n images each, and how often two policies call a class `own`."""

    classes: int
    images: tuple[int, int]
    priors: str
    rare: bool
    recall: float
    false_rate: float
    spread: float
    change: float
    busy: float = 0.0
    """Share of the class next to `own` that is called, if not 0: a class that is nearly always taken for it."""


def grid() -> list[Cell]:
    return [
        Cell(*values)
        for values in itertools.product(
            (2, 12), ((2000, 50), (500, 30)), ("natural", "uniform", "reversed"), (False, True), (0.6, 0.9),
            (0.001, 0.005, 0.02, 0.1), (1.0, 10.0), (0.02, 0.3),
        )
    ] + [
        Cell(*values)
        for values in itertools.product(
            (2, 3, 12), ((2000, 50), (500, 30)), ("natural", "uniform", "reversed"), (False, True), (0.6, 0.9),
            (0.02,), (1.0,), (0.02, 0.3), (0.9, 0.98),
        )
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.monotonic()
    rows = [asdict(cell) | measured(cell, given.repetitions, seed) for seed, cell in enumerate(grid())]
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    error = standard_errors(given.repetitions)
    off = [name for row in rows for name in SINGLE + PAIRED if off_by(row, name) > (0 if name in EXACT else error)]
    seconds = time.monotonic() - begun
    print(f"\n{len(rows)} cells, {given.repetitions} repetitions, {seconds:.0f} s; {len(off)} off beyond {error:.4f}")
    return int(bool(off))


def measured(cell: Cell, repetitions: int, seed: int) -> dict:
    """How often each interval holds the truth, and what is expected of the sample."""
    k = cell.classes
    n = np.geomspace(*cell.images, k).round()
    own = k - 1 if cell.rare else 0
    mix = {"natural": n, "uniform": np.ones(k), "reversed": n[::-1]}[cell.priors]
    strata = Strata(mix / mix.sum(), n)
    others = np.arange(k) != own

    a = np.minimum(cell.false_rate * np.geomspace(np.sqrt(cell.spread), 1 / np.sqrt(cell.spread), k), 0.4)
    a[own] = cell.recall
    if cell.busy:
        a[own - 1 if cell.rare else own + 1] = cell.busy
    only_a = a * cell.change
    only_b = np.minimum(only_a, 1 - a) / 2
    b = a - only_a + only_b
    rng = np.random.default_rng(seed)
    kinds = np.stack([a - only_a, only_a, only_b, 1 - a - only_b], axis=1)
    draws = np.stack([rng.multinomial(int(m), p, repetitions) for m, p in zip(n, kinds, strict=True)])
    both, gained, lost = (draws[..., i].astype(float) for i in range(3))

    found = intervals(strata, Pairs(both + gained, both + lost, both), own)
    truth = truths(strata.priors, a, b, own)
    covers = {name: float(np.mean((i.low <= truth[name]) & (truth[name] <= i.high))) for name, i in found.items()}
    costs, precise = costs_of(k, own)[:, 0], truth["precision"]
    moves = np.where(others, precise, 1 - precise)  # what a call adds to or takes from precision, but for a factor
    expected = {
        "precision": [(others, 1.0, n * p * (1 - p)) for p in (a, b)],
        "share": [(True, 1.0, n * p * (1 - p)) for p in (a, b)],
        "cost": [(True, costs, n * p * (1 - p)) for p in (a, b)],
        "recall difference": [(~others, 1.0, n * p) for p in (only_a, only_b)],
        "precision difference": [(True, moves, n * p) for p in (only_a, only_b)],
        "share difference": [(True, 1.0, n * p) for p in (only_a, only_b)],
        "cost difference": [(True, costs, n * p) for p in (only_a, only_b)],
    }
    events = {name: min(unseen_events(strata.weights * x * np.ones(k) * among, count) for among, x, count in both_ways)
              for name, both_ways in expected.items()}  # fmt: skip
    return {
        "repetitions": repetitions,
        "coverage": covers,
        "false calls": float(min((n * a)[others].sum(), (n * b)[others].sum())),
        "events": events,
    }


def unseen_events(weights: np.ndarray, expected: np.ndarray) -> float:
    """How many events of the weight that an unseen one is given would be as uncertain as those that are expected."""
    unseen = (weights**2).sum() / weights.sum()
    return float((weights**2 * expected).sum() / unseen**2)


def costs_of(k: int, own: int) -> np.ndarray:
    """`(K, 1)`: a miss of the class `own` costs 5, any other error 1."""
    return np.where(np.arange(k) == own, MOST_COSTLY, 1.0)[:, None]


def intervals(strata: Strata, pairs: Pairs, own: int) -> dict[str, Intervals]:
    """Every kind of interval a preview has, one column a repetition."""
    n, columns, costs = strata.n[:, None], np.full(pairs.hits.shape[1], own), costs_of(len(strata.n), own)
    images = np.full(len(columns), strata.n[own])
    is_own = np.arange(len(strata.n))[:, None] == own
    wrong = np.where(is_own, n - pairs.hits, pairs.hits)
    more, less = np.where(is_own, pairs.lost, pairs.gained), np.where(is_own, pairs.gained, pairs.lost)
    return {
        "recall": recall(pairs.hits[own], images),
        "precision": precision(strata, pairs.hits, columns),
        "share": share(strata, pairs.hits),
        "cost": mean(strata, costs * wrong, costs**2 * wrong, costs),
        "recall difference": recall_difference(pairs.gained[own], pairs.lost[own], images),
        "precision difference": precision_difference(strata, pairs, columns),
        "share difference": share_difference(strata, pairs),
        "cost difference": mean_difference(
            strata, Changes(costs * more, costs**2 * more, costs), Changes(costs * less, costs**2 * less, costs)
        ),
    }  # fmt: skip


def truths(priors: np.ndarray, a: np.ndarray, b: np.ndarray, own: int) -> dict[str, float]:
    is_own = np.arange(len(priors)) == own

    def of(calls: np.ndarray) -> dict[str, float]:
        called = float(priors @ calls)
        cost = float(priors @ np.where(is_own, MOST_COSTLY * (1 - calls), calls))
        right = float(priors[own] * calls[own])
        return {"recall": float(calls[own]), "precision": right / called, "share": called, "cost": cost}

    first, second = of(a), of(b)
    return first | {f"{name} difference": first[name] - second[name] for name in first}


def is_judged(row: dict, name: str) -> bool:
    return name in EXACT or (row["false calls"] >= ENOUGH and row["events"][name] >= ENOUGH)


def standard_errors(repetitions: int) -> float:
    """Three, of a share covered."""
    return 3 * float(np.sqrt(0.95 * 0.05 / repetitions))


def off_by(row: dict, name: str) -> float:
    """How far a judged cell's coverage is outside of where it should be."""
    if not is_judged(row, name):
        return 0.0
    low, high = (0.95 - standard_errors(row["repetitions"]), 1.0) if name in EXACT else (0.93, 0.99)
    return max(low - row["coverage"][name], row["coverage"][name] - high, 0.0)


def table(rows: list[dict]) -> str:
    lines = ["| interval | cells judged | coverage | off | cells with fewer | coverage there |", "|---" * 6 + "|"]
    for name in SINGLE + PAIRED:
        judged = [row["coverage"][name] for row in rows if is_judged(row, name)]
        rest = [row["coverage"][name] for row in rows if not is_judged(row, name)]
        off = [off_by(row, name) for row in rows if off_by(row, name) > 0]
        said = f"{len(off)}, by up to {max(off):.4f}" if off else "0"
        fewer = f"{len(rest)} | {min(rest):.3f} to {max(rest):.3f}" if rest else "0 | "
        lines.append(f"| {name} | {len(judged)} | {min(judged):.3f} to {max(judged):.3f} | {said} | {fewer} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
