"""What one bundle is worth under each rule of a comparison, on test images as they are and on corrupted ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision import Bundle, Decisions, Manifest, softmax
from decision.arrays import Logits
from training.evaluate import REWEIGHTED, balanced_accuracy, metrics_of, mix_weights
from training.reliability import CALIBRATION


@dataclass(frozen=True, eq=False)
class CorruptedLogits:
    """Logits `(n, K)` of corrupted test images by the name of the corruption; `places` `(n,)` in the test split."""

    places: NDArray[np.int64]
    logits: Mapping[str, NDArray[np.float32]]


def decided(bundle: Bundle, rule: str, logits: Logits) -> Decisions:
    """Decisions by one of `comparison.RULES`: the bundle's policies calibrate, `published` takes the raw logits."""
    if rule == "published":
        return Decisions(logits.argmax(axis=1), np.zeros(logits.shape, dtype=np.bool_), softmax(logits))
    return bundle.policy({"rule": {"kind": rule}}).decide(logits)


def measured(bundle: Bundle, decisions: Decisions) -> dict[str, float]:
    """The metrics of decisions on the test split: all of `evaluate.METRICS`, recalls, and how true probabilities are.

    ECE and NLL are given as the test split is, and re-weighted to the class mix of the calibrate split
    (`…_reweighted`), as `evaluate` does; all others as the test split is.
    """
    labels, manifest = bundle.holdout.part("test").labels, bundle.manifest
    ones, weights = np.ones(len(labels)), mix_weights(labels, calibrate_mix(manifest))
    values = {name: metric(decisions, labels, ones) for name, metric in metrics_of(bundle.classes).items()}
    rarest = [values[f"recall/{name}"] for name in rarest_third(manifest)]
    values["recall_rarest_third"] = float(np.mean(rarest))
    for name in ("ece_equal_mass", "nll"):
        score = CALIBRATION[name]
        values[name] = score(decisions.probabilities, labels, ones)
        values[name + REWEIGHTED] = score(decisions.probabilities, labels, weights)
    return values


def robustness(bundle: Bundle, rule: str, corrupted: CorruptedLogits) -> dict[str, float]:
    """Balanced accuracy under a rule on the images of each corruption, and the mean of them."""
    labels = bundle.holdout.part("test").labels[corrupted.places]
    ones = np.ones(len(labels))
    values = {
        f"robustness_{name}": balanced_accuracy(decided(bundle, rule, logits.astype(np.float64)), labels, ones)
        for name, logits in corrupted.logits.items()
    }
    return {"robustness": float(np.mean(list(values.values())))} | values


def rarest_third(manifest: Manifest) -> list[str]:
    """The ⌈K/3⌉ classes with the fewest images in train, rarest first."""
    counts = manifest.counts["train"]
    return sorted(manifest.classes, key=counts.__getitem__)[: -(-len(counts) // 3)]


def calibrate_mix(manifest: Manifest) -> NDArray[np.float64]:
    """Share `(K,)` of each class in the calibrate split."""
    counts = np.array([manifest.counts["calibrate"][name] for name in manifest.classes], dtype=np.float64)
    return np.asarray(counts / counts.sum())
