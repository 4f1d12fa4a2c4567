"""Does the test of label shift reject what it should, and only that? A simulation.

    python -m benchmarks.label_shift [--repetitions 200] [--out label_shift.json]

Gaussian classes, a holdout of 8,000 images of the most frequent class down to 40 of the rarest. Answers of the same
class mix, of the reverse one, and without the rarest class are shifts of priors alone: p-values of at most 0.05 and
0.01 should be as rare as that. Answers with less contrast, with one class that looks different, and with 5% of a
class that nobody has seen are other drifts: the share that is found at 0.05 is the test's power. Exit code 1 where a
shift of priors alone is rejected at 0.05 by more than 0.05 and 3.5 standard errors.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np

from decision import Known, NotIdentifiable, label_shift_fit, softmax

CLASSES = (2, 12)
ANSWERS = (300, 3_000, 30_000)
SEPARATION = 2.0
LARGEST, SMALLEST = 8_000, 40
MIXES = ("same mix", "reversed mix", "rarest class absent")
DRIFTS = ("less contrast", "one class looks different", "5% of an unknown class")
LEVELS = (0.05, 0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.monotonic()
    cells = [(*cell, given.repetitions) for cell in product(CLASSES, ANSWERS, (*MIXES, *DRIFTS))]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(measured, *zip(*cells, strict=True)))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    bound = 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / given.repetitions)
    broken = [row for row in rows if row["answers"] in MIXES and row["tested"] and row["0.05"] > bound]
    print(f"\n{given.repetitions} repetitions, {time.monotonic() - begun:.0f} s; {len(broken)} above {bound:.3f}")
    return int(bool(broken))


def measured(k: int, n: int, answers: str, repetitions: int) -> dict:
    sizes = np.geomspace(LARGEST, SMALLEST, k).round().astype(int)
    source = sizes / sizes.sum()
    p_values = []
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, k, n])
        labels = np.repeat(np.arange(k), sizes)
        holdout = Known(softmax(SEPARATION * images(rng, labels, k) + np.log(source)), labels, source)
        live = softmax(SEPARATION * drifted(rng, source, n, answers) + np.log(source))
        try:
            p_values.append(label_shift_fit(probabilities=live, holdout=holdout).p_value)
        except NotIdentifiable:
            continue
    shares = {str(level): float(np.mean(np.array(p_values) <= level)) if p_values else None for level in LEVELS}
    return {"K": k, "n": n, "answers": answers, "tested": len(p_values)} | shares


def drifted(rng: np.random.Generator, source: np.ndarray, n: int, answers: str) -> np.ndarray:
    """Images `(n, K)` of the live population."""
    k = len(source)
    mix = {"reversed mix": source[::-1], "rarest class absent": np.append(source[:-1], 0.0)}.get(answers, source)
    labels = rng.choice(k, n, p=mix / mix.sum())
    x = images(rng, labels, k)
    if answers == "less contrast":
        return 0.8 * x
    if answers == "one class looks different":
        x[labels == 0] -= 0.4 * SEPARATION * np.eye(k)[0]
    if answers == "5% of an unknown class":
        unknown = rng.random(n) < 0.05
        x[unknown] = rng.normal(size=(unknown.sum(), k)) + 0.7 * SEPARATION * np.eye(k)[:2].sum(axis=0)
    return x


def images(rng: np.random.Generator, labels: np.ndarray, k: int) -> np.ndarray:
    return rng.normal(size=(len(labels), k)) + SEPARATION * np.eye(k)[labels]


def table(rows: list[dict]) -> str:
    lines = ["| K | answers | n | tested | p ≤ 0.05 | p ≤ 0.01 |", "|---" * 6 + "|"]
    for row in sorted(rows, key=lambda row: (row["K"], [*MIXES, *DRIFTS].index(row["answers"]), row["n"])):
        shares = [f"{row[str(level)]:.3f}" if row["tested"] else "too few answers" for level in LEVELS]
        lines.append(f"| {row['K']} | {row['answers']} | {row['n']:,} | {row['tested']} | {' | '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
