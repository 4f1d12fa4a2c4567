"""What a decision costs, in softmax passes over the same array: both sides timed in turns in one run.

    python -m benchmarks.decide [--rounds 15] [--out decide.json]

`Policy.decide` on 100,000 images of 12 classes against `softmax` (at most 3); on one image against a bare NumPy
softmax, division and argmax (at most 2.5); a preview of 10,000 images of 100 classes against `softmax` (at most 25).
Ratios of medians. Exit code 1 where one is above its bound.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from decision import Calibration, Holdout, Policy, PolicyDocument, preview, softmax
from decision.policy import compile_policy

BATCH_BOUND, ONE_BOUND, PREVIEW_BOUND = 3.0, 2.5, 25.0
CALLS = 2_000  # of one image, timed together


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [*decisions(given.rounds), *previews(given.rounds)]
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("| what | rule | passes | bound |", "|---|---|---|---|", sep="\n")
    for row in rows:
        print(f"| {row['what']} | {row['rule']} | {row['ratio']:.2f} | {row['bound']:g} |")
    return int(any(row["ratio"] > row["bound"] for row in rows))


def ratio(ours: Callable[[], object], reference: Callable[[], object], rounds: int) -> float:
    """Median time of ours over that of the reference, timed in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for call, taken in zip((ours, reference), times, strict=True):
            begun = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begun)
    mine, bare = (statistics.median(taken[1:]) for taken in times)
    return mine / bare


def decisions(rounds: int) -> list[dict]:
    many, one = logits(100_000, 12), logits(1, 12)
    rows = []
    for name, policy in policies(12).items():
        batch = ratio(lambda policy=policy: policy.decide(many), lambda: softmax(many), rounds)
        rows.append({"what": "100,000 images × 12 classes", "rule": name, "ratio": batch, "bound": BATCH_BOUND})
    t = np.full(12, 0.2)
    for name, policy in policies(12).items():
        single = ratio(lambda policy=policy: repeated(policy.decide, one), lambda: repeated(bare, one, t), rounds)
        rows.append({"what": "1 image × 12 classes", "rule": name, "ratio": single, "bound": ONE_BOUND})
    return rows


def previews(rounds: int) -> list[dict]:
    k, n = 100, 10_000
    z = logits(n, k)
    bundle: Any = SimpleNamespace(
        classes=names(k), calibration=calibration(k), holdout=Holdout(z, labels(n, k), np.full(n, "test"), np.arange(n))
    )
    made = policies(k)
    rows = []
    for name, policy in made.items():
        alone = ratio(lambda policy=policy: preview(bundle, policy), lambda: softmax(z), rounds)
        rows.append({"what": "preview, 10,000 × 100", "rule": name, "ratio": alone, "bound": PREVIEW_BOUND})
    for name, policy in made.items():
        both = ratio(lambda policy=policy: preview(bundle, policy, against=made["cost"]), lambda: softmax(z), rounds)
        rows.append({"what": "preview, 10,000 × 100", "rule": f"{name} against cost", "ratio": both,
                     "bound": PREVIEW_BOUND})  # fmt: skip
    return rows


def bare(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return (p / t).argmax(axis=1)


def repeated(call: Callable[..., object], *arguments: object) -> None:
    for _ in range(CALLS):
        call(*arguments)


def names(k: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(k))


def labels(n: int, k: int) -> np.ndarray:
    return np.arange(n) % k


def logits(n: int, k: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, k)) + 3 * np.eye(k)[labels(n, k)]


def calibration(k: int) -> Calibration:
    return Calibration(1.3, np.zeros(k))


def policies(k: int) -> dict[str, Policy]:
    """One of each rule, at deployment priors that are not the calibration ones."""
    few = names(k)[:3]
    rules: dict[str, dict] = {
        "argmax": {"kind": "argmax"},
        "priors": {"kind": "priors"},
        "thresholds": {"kind": "thresholds", "thresholds": dict.fromkeys(names(k), 0.2)},
        "recall": {"kind": "recall", "targets": dict.fromkeys(few, 0.9)},
        "cost": {"kind": "cost", "costs": {few[0]: {few[1]: 5.0}}},
    }
    priors = np.geomspace(50, 1, k) / np.geomspace(50, 1, k).sum()
    n = 200 * k
    holdout = Holdout(logits(n, k), labels(n, k), np.full(n, "tune"), np.arange(n))
    made = {name: PolicyDocument.model_validate({"rule": rule, "deployment_priors": "uniform"})
            for name, rule in rules.items()}  # fmt: skip
    made["priors, abstaining"] = made["priors"].model_copy(update={"abstain_below": 0.5})
    return {
        name: compile_policy(document, names(k), calibration(k), priors, holdout) for name, document in made.items()
    }


if __name__ == "__main__":
    sys.exit(main())
