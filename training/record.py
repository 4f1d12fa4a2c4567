"""What is written down of a run: the manifest of its bundle."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import onnxruntime

from decision import Certificate, Interval, Manifest, Policy
from decision.arrays import Priors
from decision.bundle import CalibrationRecord
from training.compare_words import many
from training.config import TrainingConfig
from training.dataset import Dataset
from training.methods import Method
from training.runlog import Epoch
from training.splits import Splits

LIBRARIES = ("torch", "torchvision", "lightning-fabric", "numpy", "scipy", "scikit-learn", "onnx", "pillow")


def describe(
    config: TrainingConfig, dataset: Dataset, splits: Splits, method: Method, curve: Sequence[Epoch],
    policy: Policy, calibration_priors: Priors, metrics: dict[str, Interval],
) -> Manifest:  # fmt: skip
    """The manifest of a run, without version and hashes: saving adds those."""
    counts = splits.counts(dataset)
    n_train = sum(counts["train"].values())
    calibration = CalibrationRecord(
        temperature=policy.calibration.temperature, bias=policy.by_class(policy.calibration.bias)
    )
    libraries = {name: version(name) for name in LIBRARIES}
    libraries |= {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    return Manifest.model_validate(
        {
            "name": config.name,
            "classes": dataset.classes,
            "input": dataset.input,
            "counts": counts,
            "training_priors": {name: n / n_train for name, n in counts["train"].items()},
            "calibration_priors": policy.by_class(calibration_priors),
            "calibration": calibration,
            "policy": policy.document,
            "metrics": metrics,
            "training": config.record()
            | {
                "left_out": {"unreadable": len(dataset.unreadable), "not_images": len(dataset.not_images)},
                "source": method.source,
                "phases": _phases(method, dataset, splits),
                "curve": [epoch.row() for epoch in curve],
            },
            "seed": config.seed,
            "libraries": libraries,
        }
    )


def _phases(method: Method, dataset: Dataset, splits: Splits) -> list[dict[str, Any]]:
    """Each phase as its row has it, and the class sizes of the data that its draws stand for (`drawn`)."""
    counts = dataset.counts(splits.train)
    return [
        asdict(phase) | {"drawn": dict(zip(dataset.classes, phase.sampling.sizes(counts).tolist(), strict=True))}
        for phase in method.phases
    ]


def summary(manifest: Manifest, certificates: Sequence[Certificate]) -> str:
    """What the run was, for the head of its report, and what it promises."""
    training, n_test = manifest.training, sum(manifest.counts["test"].values())
    without = f"; left out: {words}" if (words := left_out(training)) else ""
    return (
        f"{training['network']} trained by {training['method']} on {training['data']}, seed {manifest.seed}; "
        f"{n_test:,} test images, decided by the rule {manifest.policy.rule.kind}{without}. "
        + " ".join(f"Certified: {certificate}." for certificate in certificates)
    ).rstrip()


def left_out(training: Mapping[str, Any]) -> str | None:
    """How many files of the data a training record says were left out and why, in words; None where none was."""
    n = training.get("left_out", {})
    words = {"unreadable": "that could not be read", "not_images": "without an image"}
    return " and ".join(f"{many(n[why], 'file')} {text}" for why, text in words.items() if n.get(why)) or None
