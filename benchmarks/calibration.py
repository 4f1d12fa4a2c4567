"""Temperature, bias-corrected temperature and vector scaling on the same images.

    python -m benchmarks.calibration models/solar [models/mnist …] [--fits 20] [--out calibration.json]

Each is fitted to a random half of a bundle's tune split and, as where images are few, to a tenth of it, and judged
on its test split re-weighted to the tune split's class mix; mean and standard error over `--fits` draws. Only here
does anything but a certificate look at a tune split.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from decision import Bundle, load_bundle, softmax
from training.calibrate import RIDGE, fit_bias_corrected, fit_calibration, fit_temperature
from training.evaluate import mix_weights
from training.reliability import CALIBRATION

PARTS = {"half": 0.5, "a tenth": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [row for path in given.models for row in compared(load_bundle(path), given.fits)]
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def compared(bundle: Bundle, fits: int) -> list[dict]:
    tune, test = bundle.holdout.part("tune"), bundle.holdout.part("test")
    k = len(bundle.classes)
    mix = np.bincount(tune.labels, minlength=k) / len(tune.labels)
    weights = mix_weights(test.labels, mix)
    rows = []
    for part, share in PARTS.items():
        for draw in range(fits):
            rng = np.random.default_rng(draw)
            kept = np.concatenate([some(rng, np.flatnonzero(tune.labels == c), share) for c in range(k)])
            z, y = tune.logits[kept], tune.labels[kept]
            fitted = {
                "none": softmax(test.logits),
                "temperature": fit_temperature(z, y).probabilities(test.logits),
                "bias-corrected": fit_bias_corrected(z, y).probabilities(test.logits),
                "ours, chosen": fit_calibration(z, y, seed=draw).probabilities(test.logits),
                "vector": softmax(vector_scaled(z, y, test.logits)),
            }
            rows += [
                {"bundle": bundle.manifest.name, "part": part, "n": len(kept), "draw": draw, "calibration": name}
                | {metric: score(p, test.labels, weights) for metric, score in CALIBRATION.items()}
                for name, p in fitted.items()
            ]
    return rows


def some(rng: np.random.Generator, rows: np.ndarray, share: float) -> np.ndarray:
    return rng.choice(rows, max(2, round(share * len(rows))), replace=False)


def vector_scaled(z: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logits of softmax(w ⊙ z + b), w and b `(K,)` by NLL (Guo et al. 2017), under the ridge that ours has."""
    k = z.shape[1]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_w, b = parameters[:k], parameters[k:]
        scaled = z * np.exp(log_w)
        log_p = log_softmax(scaled + b, axis=1)
        excess = np.exp(log_p)
        excess[np.arange(len(y)), y] -= 1.0
        gradient = np.concatenate([(excess * scaled).sum(axis=0), excess.sum(axis=0)]) + RIDGE * parameters
        return float(-log_p[np.arange(len(y)), y].sum() + RIDGE / 2 * (parameters @ parameters)), gradient

    found = minimize(loss, np.zeros(2 * k), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return test * np.exp(found[:k]) + found[k:]


def table(rows: list[dict]) -> str:
    lines = [f"| bundle | fitted to | calibration | {' | '.join(CALIBRATION)} |", "|---" * (3 + len(CALIBRATION)) + "|"]
    for key in dict.fromkeys((row["bundle"], row["part"], row["calibration"]) for row in rows):
        own = [row for row in rows if (row["bundle"], row["part"], row["calibration"]) == key]
        cells = []
        for metric in CALIBRATION:
            values = np.array([row[metric] for row in own])
            cells.append(f"{values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}")
        lines.append(f"| {key[0]} | {key[1]}, {own[0]['n']:,} images | {key[2]} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
