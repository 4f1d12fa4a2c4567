"""Do the figures that need no labels lie within their intervals under label shift? A simulation.

    python -m benchmarks.label_free [--repetitions 100] [--quick] [--out label_free.json]

Gaussian classes, 57:1, a holdout of tune and test images, and a network that is either calibrated exactly, or whose
features are mixed up a little and whose logits are too large, with a calibration that `training` fits to a split of
its own (12 images to 40 of tune and test): so what is left of both is not calibrated. Answers of the holdout's mix,
with three times as many of the rarest class, of the reversed mix and without the rarest class. Prevalence by EM, RLLS
and BBSE; precision of what three policies call, at the estimate that the service would take. Every repetition draws
all anew, its holdout, calibration and policies included. Exit code 1 where an interval of a cell holds the truth in
less than 95% less 3.5 standard errors, on average over its classes, or for a single class in less than 90% less 3.5
standard errors.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from decision import Bundle, Calibration, Holdout, NotIdentifiable, Policy, PriorsEstimate
from decision.bundle import CalibrationRecord, Manifest
from decision.images import InputSpec
from decision.label_free import live_precision
from decision.label_shift import Method
from decision.policy import PolicyDocument
from service.estimates import Estimator
from training.calibrate import fit_calibration

CLASSES, HELD_OUT, ANSWERS = (3, 12), (2_000, 7_000), (1_000, 10_000)
NETWORKS = ("calibrated", "fitted")
MIXES = ("same", "rare x3", "reversed", "no rarest")
METHODS: tuple[Method, ...] = ("em", "rlls", "bbse")
RATIO = 57
POOL = 10_000  # images of each class: the population
SEPARATION, MIXED_UP, TOO_LARGE = 2.6, 0.15, 1.6
CALIBRATE = 12 / 40  # of what is held out: the shares of `python -m training run`
PROMISED, LEAST, ERRORS = 0.95, 0.90, 3.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="20 repetitions, the smaller holdout")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    repetitions = 20 if given.quick else given.repetitions
    begun = time.monotonic()
    worlds = list(product(CLASSES, NETWORKS, HELD_OUT[:1] if given.quick else HELD_OUT))
    with ProcessPoolExecutor(given.workers) as pool:
        rows = [row for found in pool.map(measured, worlds, [repetitions] * len(worlds)) for row in found]
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    broken = [row for row in rows if is_broken(row)]
    print(table(rows), "", worst(rows), sep="\n")
    for row in broken:
        print("broken:", {name: value for name, value in row.items() if name not in ("coverage", "width")}, lowest(row))
    print(f"\n{repetitions} repetitions, {time.monotonic() - begun:.0f} s; {len(broken)} of {len(rows)} cells broken")
    return int(bool(broken))


def measured(world: tuple[int, str, int], repetitions: int) -> list[dict]:
    """A row for each live mix, number of answers and figure."""
    k, network, held_out = world
    inside: dict[tuple, list] = defaultdict(list)
    widths: dict[tuple, list] = defaultdict(list)
    for seed in range(repetitions):
        rng = np.random.default_rng([seed, k, held_out])
        for cell, figure, truth, low, high in repetition(rng, k, network, held_out):
            known = ~np.isnan(truth)
            inside[(*cell, figure)].append(np.where(known, (low <= truth + 1e-12) & (truth <= high + 1e-12), np.nan))
            widths[(*cell, figure)].append(high - low)
    return [
        {"K": k, "network": network, "held out": held_out, "mix": mix, "n": n, "figure": figure, "given": len(found),
         "coverage": [None if np.isnan(one) else float(one) for one in means(found)], **spread(found),
         "width": [float(one) for one in np.median(widths[mix, n, figure], axis=0)]}
        for (mix, n, figure), found in inside.items()
    ]  # fmt: skip


def repetition(rng: np.random.Generator, k: int, network: str, held_out: int) -> Iterator[tuple]:
    """Each figure of each cell, with its truth and limits `(K,)`."""
    logits, source = population(k, network), frequencies(k)
    bundle = bundle_of(rng, logits, held_out, network)
    estimator = Estimator(bundle)
    policies = policies_of(bundle)
    called = {name: calls(policy, logits) for name, policy in policies.items()}
    for mix, n in product(MIXES, ANSWERS):
        live = live_mix(source, mix)
        images = rng.choice(k, n, p=live) * POOL + rng.integers(0, POOL, n)
        answers = bundle.calibration.probabilities(logits[images])
        found = {method: estimate(estimator, method, answers) for method in METHODS}
        for method, priors in found.items():
            if priors is not None:
                yield (mix, n), method, live, priors.low, priors.high
        taken = found["em"] or found["rlls"]
        for name, policy in policies.items() if taken is not None else ():
            precise = live_precision(bundle, policy, taken)
            shares = live @ called[name]
            truth = np.divide(live * called[name].diagonal(), shares, out=np.full(k, np.nan), where=shares > 0)
            yield (mix, n), f"precision, {name}", truth, precise.low, precise.high


def estimate(estimator: Estimator, method: Method, answers: np.ndarray) -> PriorsEstimate | None:
    try:
        return estimator.priors(method, answers)
    except NotIdentifiable:
        return None


def frequencies(k: int) -> np.ndarray:
    weights = RATIO ** (-np.arange(k) / (k - 1.0))
    return weights / weights.sum()


def live_mix(source: np.ndarray, mix: str) -> np.ndarray:
    rarest, rest = source[-1], source[:-1] / source[:-1].sum()
    share = {"rare x3": 3 * rarest, "no rarest": 0.0}.get(mix, rarest)
    return source[::-1].copy() if mix == "reversed" else np.append(rest * (1 - share), share)


@cache
def population(k: int, network: str) -> np.ndarray:
    """Logits `(K · POOL, K)` of as many images of each class, one class after the other."""
    rng = np.random.default_rng([k, 7])
    x = rng.normal(size=(k * POOL, k)) + SEPARATION * np.repeat(np.eye(k), POOL, axis=0)
    if network == "calibrated":
        return SEPARATION * x + np.log(frequencies(k))
    mixed = x @ (np.eye(k) + MIXED_UP / np.sqrt(k) * rng.normal(size=(k, k)))
    return TOO_LARGE * (SEPARATION * mixed + np.log(frequencies(k)))


def bundle_of(rng: np.random.Generator, logits: np.ndarray, held_out: int, network: str) -> Bundle:
    """As much of a bundle as estimates look at, of images drawn from the population, stratified as training does."""
    k = logits.shape[1]
    tune, test = (drawn(rng, k, held_out / 2) for _ in range(2))
    calibrate, labels = drawn(rng, k, held_out * CALIBRATE)
    calibration, priors = Calibration(1.0, np.zeros(k)), frequencies(k)
    if network != "calibrated":
        calibration = fit_calibration(logits[calibrate], labels, seed=0)
        priors = calibration.probabilities(logits[calibrate]).mean(axis=0)
    rows, split = np.concatenate([tune[0], test[0]]), np.repeat(["tune", "test"], [len(tune[0]), len(test[0])])
    holdout = Holdout(logits[rows], np.concatenate([tune[1], test[1]]), split, np.arange(len(rows)))
    classes = tuple(f"c{j}" for j in range(k))
    named = dict(zip(classes, (priors / priors.sum()).tolist(), strict=True))
    bias = dict(zip(classes, calibration.bias.tolist(), strict=True))
    manifest = Manifest(
        name="simulated", classes=classes, input=InputSpec(1, 1, 1), counts={}, training_priors=named,
        calibration_priors=named, calibration=CalibrationRecord(temperature=calibration.temperature, bias=bias),
        policy=PolicyDocument(), metrics={}, training={}, seed=0, libraries={},
    )  # fmt: skip
    return Bundle(Path(), manifest, holdout)


def drawn(rng: np.random.Generator, k: int, count: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the population and labels, at least 4 a class."""
    labels = np.repeat(np.arange(k), np.maximum(np.round(count * frequencies(k)), 4).astype(int))
    return labels * POOL + rng.integers(0, POOL, len(labels)), labels


def policies_of(bundle: Bundle) -> dict[str, Policy]:
    rarest = bundle.classes[-1]
    rules = {
        "priors": {"kind": "priors"},
        "thresholds": {"kind": "thresholds", "thresholds": {rarest: 0.3}},
        "recall": {"kind": "recall", "targets": {rarest: 0.5}},
    }
    return {name: bundle.policy({"rule": rule}) for name, rule in rules.items()}


def calls(policy: Policy, logits: np.ndarray) -> np.ndarray:
    """P(called i | class j) `(K, K)` at [j, i], of the population: flagged, or labelled where it cannot be flagged."""
    decisions, k = policy.decide(logits), logits.shape[1]
    called = np.where(policy.rule.can_flag, decisions.flags, np.arange(k) == decisions.labels[:, None])
    shares: np.ndarray = called.reshape(k, POOL, k).mean(axis=1)
    return shares


def means(found: list) -> np.ndarray:
    """Shares `(K,)` of the repetitions in which there is a truth, NaN of none."""
    held, count = np.nansum(found, axis=0), (~np.isnan(found)).sum(axis=0)
    return np.divide(held, count, out=np.full(len(held), np.nan), where=count > 0)


def spread(found: list) -> dict[str, float]:
    """Of the coverage on average over classes: its value, and its standard error were it 95%.

    Classes of one repetition are related; so the error is that of the repetitions' means, but not below what
    independent classes would have.
    """
    per_repetition = np.nanmean(found, axis=1)
    count = (~np.isnan(found)).sum()
    least = np.sqrt(PROMISED * (1 - PROMISED) / count)
    return {"mean": float(np.nanmean(found)),
            "error": float(max(least, per_repetition.std() / np.sqrt(len(per_repetition))))}  # fmt: skip


def is_broken(row: dict) -> bool:
    single = LEAST - ERRORS * np.sqrt(LEAST * (1 - LEAST) / row["given"])
    return row["mean"] < PROMISED - ERRORS * row["error"] or lowest(row) < single


def lowest(row: dict) -> float:
    return min(one for one in row["coverage"] if one is not None)


def table(rows: list[dict]) -> str:
    """By world and figure: coverage on average over mixes and classes, that of the worst cell, of the worst class."""

    def covered(found: list[dict]) -> str:
        mean = np.mean([row["mean"] for row in found])
        return f"{mean:.3f} / {min(row['mean'] for row in found):.3f} / {min(map(lowest, found)):.2f}"

    def width(found: list[dict]) -> str:
        return " / ".join(f"{row['width'][-1]:.2g}" for row in found if row["mix"] == "same")

    return "\n\n".join(
        f"{title}\n\n{pivot(rows, shown)}"
        for title, shown in (
            ("Coverage: mean / worst cell / worst class of a cell.", covered),
            (f"Width, rarest class, the holdout's mix, n = {' / '.join(f'{n:,}' for n in ANSWERS)}.", width),
        )
    )


def pivot(rows: list[dict], shown: Callable[[list[dict]], str]) -> str:
    figures = list(dict.fromkeys(row["figure"] for row in rows))
    groups = defaultdict(list)
    for row in rows:
        groups[f"{row['K']} | {row['network']} | {row['held out']:,}", row["figure"]].append(row)
    lines = [f"| K | network | held out | {' | '.join(figures)} |", "|---" * (3 + len(figures)) + "|"]
    for world in dict.fromkeys(world for world, _ in groups):
        lines.append(f"| {world} | {' | '.join(shown(groups[world, figure]) for figure in figures)} |")
    return "\n".join(lines)


def worst(rows: list[dict]) -> str:
    """The cells with the least coverage of each figure."""
    lines = ["| figure | K | network | held out | mix | n | mean | worst class |", "|---" * 8 + "|"]
    for figure in dict.fromkeys(row["figure"] for row in rows):
        for row in sorted((row for row in rows if row["figure"] == figure), key=lambda row: row["mean"])[:2]:
            lines.append(
                f"| {figure} | {row['K']} | {row['network']} | {row['held out']:,} | {row['mix']} | {row['n']:,} "
                f"| {row['mean']:.3f} | {lowest(row):.3f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
