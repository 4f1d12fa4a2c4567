"""Do the promises hold on real images? Certificates, prior adjustment and label shift on a bundle's held-out images.

    python -m benchmarks.real_data models/solar [models/mnist …] [--data FOLDER] [--splits 1000] [--out real_data.json]

Certificates: tune and test images of each class are dealt anew into parts of the same sizes; with the threshold the
r-th smallest of n tune images, the misses among m test images follow the beta-binomial law BB(m; r, n - r + 1),
whatever the network is. The table has the chi-square p-value of that, and P(test recall ≥ target) as predicted and as
observed. Prior adjustment: test images are weighted to forward and backward long tails; NLL and accuracy are given
with and without adjustment to the tail, and how far EM, BBSE and RLLS land from it, with what the tune split knows,
against how far the calibration priors are. With --data, the folder of the data sets, the test images are also given
to the network with less contrast and with noise: no shift of priors, so that the estimates should fail and the test of
label shift should say so. Exit code 1 where a p-value is below 0.001.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.stats

from decision import (
    Bundle,
    Known,
    NotCertifiable,
    NotIdentifiable,
    adjust,
    certify,
    estimate_priors,
    label_shift_fit,
    load_bundle,
)
from decision.label_shift import Method
from training.dataset import load_dataset
from training.export import onnx_logits
from training.splits import split

CONFIDENCE = 0.95
FACTORS = (10.0, 100.0)
LIVE = 50_000  # images of the weighted test split, copies and all
METHODS: tuple[Method, ...] = ("em", "bbse", "rlls")
FEWEST_EXPECTED = 5.0
SMALLEST_P = 0.001


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recall", type=float, default=0.9)
    parser.add_argument("--splits", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for path in given.models:
        bundle = load_bundle(path)
        print(f"\n### {bundle.manifest.name}\n")
        certificates = [miss_law(bundle, k, given.recall, given.splits) for k in range(len(bundle.classes))]
        print(certificate_table(certificates, given.recall, given.splits))
        tails = [tail_row(bundle, factor, forward) for factor in FACTORS for forward in (True, False)]
        print("\n" + tail_table(tails))
        drifts = [] if given.data is None else drift_rows(bundle, given.data / bundle.manifest.training["data"])
        if drifts:
            print("\n" + drift_table(drifts))
        found[bundle.manifest.name] = {"certificates": certificates, "tails": tails, "drifts": drifts}
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    p_values = [row["p_value"] for rows in found.values() for row in rows["certificates"] if "p_value" in row]
    smallest = min(p_values, default=1.0)
    print(f"\nsmallest p-value {smallest:.4f} of {len(p_values)}")
    return int(smallest < SMALLEST_P)


def miss_law(bundle: Bundle, k: int, recall: float, splits: int) -> dict:
    """How often class k was missed in test over random re-splits, against the beta-binomial law."""
    holdout = bundle.holdout
    own = bundle.policy().decide(holdout.logits[holdout.labels == k]).probabilities[:, k]
    n = int(((holdout.labels == k) & (holdout.split == "tune")).sum())
    m = len(own) - n
    row = {"class": bundle.classes[k], "n": n, "m": m}
    try:
        rank = certify(np.ones(n), recall=recall, confidence=CONFIDENCE).rank
    except NotCertifiable as error:
        return row | {"not certifiable": error.best_recall}
    rng = np.random.default_rng(k)
    misses = np.empty(splits, dtype=int)
    for i in range(splits):
        dealt = rng.permutation(own)
        threshold = certify(dealt[:n], recall=recall, confidence=CONFIDENCE).threshold
        misses[i] = (dealt[n:] < threshold).sum()
    law = scipy.stats.betabinom(m, rank, n - rank + 1)
    allowed = int(np.floor(m * (1 - recall) + 1e-9))
    return row | {
        "rank": rank,
        "ties": int(len(own) - len(np.unique(own))),
        "p_value": goodness(misses, law.pmf(np.arange(m + 1))),
        "predicted": float(law.cdf(allowed)),
        "observed": float(np.mean(misses <= allowed)),
    }


def goodness(counts: np.ndarray, law: np.ndarray) -> float:
    """Chi-square p-value of `counts` against a law over 0, 1, …, cells pooled until 5 are expected in each."""
    expected = law * len(counts)
    cell = np.minimum(
        np.floor(np.cumsum(expected) / FEWEST_EXPECTED - 1e-12), np.floor(len(counts) / FEWEST_EXPECTED) - 1
    )
    _, cell = np.unique(cell, return_inverse=True)
    pooled = np.bincount(cell, weights=expected)
    seen = np.bincount(cell, weights=np.bincount(counts, minlength=len(law)), minlength=len(pooled))
    if pooled[0] < FEWEST_EXPECTED:  # the floor of a cumulative sum leaves at most the first cell short
        pooled, seen = (np.concatenate([[a[0] + a[1]], a[2:]]) for a in (pooled, seen))
    return float(scipy.stats.chisquare(seen, pooled * seen.sum() / pooled.sum()).pvalue)


def tail_row(bundle: Bundle, factor: float, forward: bool) -> dict:
    """What adjusting to a long tail does to test images weighted to it, and how well the tail is estimated."""
    test = bundle.holdout.part("test")
    source = bundle.calibration_priors
    order = np.argsort(-source if forward else source, kind="stable")
    tail = np.empty(len(source))
    tail[order] = np.geomspace(factor, 1, len(source))
    tail /= tail.sum()

    calibrated = bundle.calibration.probabilities(test.logits)
    weights = (tail / np.bincount(test.labels, minlength=len(tail)))[test.labels]
    adjusted = adjust(calibrated, from_=source, to=tail)
    row: dict = {"factor": factor, "direction": "forward" if forward else "backward"}
    for name, p in (("calibrated", calibrated), ("adjusted", adjusted)):
        row[f"nll {name}"] = float(np.average(-np.log(p[np.arange(len(p)), test.labels]), weights=weights))
        row[f"accuracy {name}"] = float(np.average(p.argmax(axis=1) == test.labels, weights=weights))
    row["distance calibration"] = float(np.abs(source - tail).sum())
    copies = np.round(weights / weights.sum() * LIVE).astype(int)
    live = np.repeat(calibrated, copies, axis=0)
    known = tuned(bundle)
    for method in METHODS:
        row[f"distance {method}"] = distance(live, known, tail, method)
    return row


def drift_rows(bundle: Bundle, data: Path) -> list[dict]:
    """What estimates and the test of label shift make of test images as they are, and of images that look different."""
    spec = bundle.input
    dataset = load_dataset(str(data), size=(spec.height, spec.width))
    rows = split(dataset, None, bundle.manifest.seed).test
    labels, network = dataset.labels[rows], bundle.network.read_bytes()
    mix = np.bincount(labels, minlength=len(bundle.classes)) / len(labels)
    found = []
    for name, change in DRIFTS.items():
        live = bundle.calibration.probabilities(onnx_logits(network, change(dataset.images[rows])).astype(np.float64))
        fit = label_shift_fit(probabilities=live, holdout=tuned(bundle))
        errors = {f"distance {method}": distance(live, tuned(bundle), mix, method) for method in METHODS}
        accuracy = float(np.mean(live.argmax(axis=1) == labels))
        found.append({"images": name, "accuracy": accuracy, "p_value": fit.p_value} | errors)
    return found


def tuned(bundle: Bundle) -> Known:
    """What the tune split knows."""
    tune = bundle.holdout.part("tune")
    return Known(bundle.calibration.probabilities(tune.logits), tune.labels, bundle.calibration_priors)


def less_contrast(images: np.ndarray) -> np.ndarray:
    """Halfway to each image's own mean."""
    middle = images.mean(axis=(1, 2), keepdims=True)
    return (middle + (images - middle) / 2).round().astype(np.uint8)


def noisy(images: np.ndarray) -> np.ndarray:
    """With Gaussian noise of a twelfth of the range."""
    noise = np.random.default_rng(0).normal(0, 255 / 12, images.shape)
    return np.clip(images + noise, 0, 255).round().astype(np.uint8)


DRIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda images: images,
    "less contrast": less_contrast,
    "noise": noisy,
}


def distance(live: np.ndarray, known: Known, truth: np.ndarray, method: Method) -> float:
    """Σ |estimate - truth| of the priors; NaN where they are not identifiable."""
    try:
        found = estimate_priors(probabilities=live, method=method, holdout=known)
    except NotIdentifiable:
        return float("nan")
    return float(np.abs(found.priors - truth).sum())


def certificate_table(rows: list[dict], recall: float, splits: int) -> str:
    lines = [
        f"Recall {recall:g} with confidence {CONFIDENCE:g}, {splits} re-splits of tune and test.\n",
        "| class | tune | test | r | ties | p-value | P(test recall ≥ target), predicted | observed |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        said = [str(row[name]) for name in ("class", "n", "m")]
        if "rank" not in row:
            said += ["", "", f"not certifiable: up to {row['not certifiable']:.3f}", "", ""]
        else:
            said += [str(row["rank"]), str(row["ties"]), f"{row['p_value']:.3f}"]
            said += [f"{row['predicted']:.3f}", f"{row['observed']:.3f}"]
        lines.append(f"| {' | '.join(said)} |")
    return "\n".join(lines)


def tail_table(rows: list[dict]) -> str:
    lines = [
        "| tail | NLL calibrated | adjusted | accuracy calibrated | adjusted | Σ abs. error of calibration priors "
        "| em | bbse | rlls |",
        "|---" * 9 + "|",
    ]
    for row in rows:
        values = [row[name] for name in row if name not in ("factor", "direction")]
        order = [0, 2, 1, 3, *range(4, len(values))]
        figures = " | ".join(f"{values[i]:.3f}" for i in order)
        lines.append(f"| {row['direction']}, {row['factor']:g}:1 | {figures} |")
    return "\n".join(lines)


def drift_table(rows: list[dict]) -> str:
    names = [name for name in rows[0] if name not in ("images", "p_value")]
    lines = [f"| test images | p-value of label shift | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for row in rows:
        cells = [f"{row[name]:.3f}" for name in names]
        lines.append(f"| {row['images']} | {row['p_value']:.2g} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
