"""What one bundle is worth under each rule of a comparison, on test images as they are and on corrupted ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision import Bundle, Decisions, Manifest, softmax
from decision.arrays import Labels, Logits
from training.evaluate import Weights, balanced_accuracy, metrics_of, mix_weights
from training.reliability import ece_equal_mass, nll

OTHER_MIX = 0.01


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

    ECE and NLL are under the class mix of the calibrate split (see `calibration_weights`), the others as the test
    split is.
    """
    labels, manifest = bundle.holdout.part("test").labels, bundle.manifest
    weights = calibration_weights(manifest, labels)
    ones = np.ones(len(labels))
    values = {name: metric(decisions, labels, ones) for name, metric in metrics_of(bundle.classes).items()}
    rarest = [values[f"recall/{name}"] for name in rarest_third(manifest)]
    return values | {
        "recall_rarest_third": float(np.mean(rarest)),
        "ece": ece_equal_mass(decisions.probabilities, labels, weights),
        "nll": nll(decisions.probabilities, labels, weights),
    }


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


def other_mix(manifest: Manifest) -> bool:
    """Whether a class's share of test differs from its share of calibrate by more than a hundredth."""
    calibrate, test = (_mix(manifest, split) for split in ("calibrate", "test"))
    return bool(np.abs(calibrate - test).max() > OTHER_MIX)


def calibration_weights(manifest: Manifest, labels: Labels) -> Weights:
    """What each test image `(n,)` weighs in ECE and NLL: 1, or where `other_mix`, for the mix to be calibrate's.

    Calibrated probabilities are those of that population. Its own frequencies are the target, not the bundle's
    calibration priors, which differ by method where the calibration has no biases: paired differences are of one mix.
    """
    return mix_weights(labels, _mix(manifest, "calibrate")) if other_mix(manifest) else np.ones(len(labels))


def _mix(manifest: Manifest, split: str) -> NDArray[np.float64]:
    counts = np.array([manifest.counts[split][name] for name in manifest.classes], dtype=np.float64)
    return counts / counts.sum()
