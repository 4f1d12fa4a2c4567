"""python -m training run DATA: data set → phase 1, rebalanced → phase 2, natural → calibrate → bundle."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.utilities.exceptions import MisconfigurationException

from decision import Calibration, Holdout, load_bundle, save_bundle
from training.augment import Augmentation
from training.calibrate import fit_calibration
from training.commands import TrainingConfig, parse
from training.dataset import DataError, Dataset, load_dataset
from training.evaluate import as_table, evaluate
from training.export import EXAMPLES, ExportError, export_network, onnx_logits
from training.methods import METHODS
from training.networks import build_network
from training.phases import Schedule, train_phase
from training.record import describe, summary
from training.report import render_report
from training.splits import Splits, split
from training.targets import default_policy, require_certifiable


def run(config: TrainingConfig, models: Path) -> Path | None:
    """Train as `config` says, write the bundle below `models`, and return its folder.

    Without a holdout there is nothing to calibrate on and no bundle: the metrics are printed, as for a paper.
    """
    fabric = launch(config)
    dataset = load_dataset(config.data, size=config.size, flips=config.flips)
    config = config.settled(dataset)
    splits = split(dataset, config.imbalance, config.seed, holdout=config.holdout)
    require_certifiable(config, dataset, splits)
    network = build_network(config.network, dataset.input, len(dataset.classes), dataset.images[splits.train])

    augment = Augmentation(dataset.flips, config.shift)
    schedule = Schedule.of(config)
    curve = []
    for phase in METHODS[config.method]:
        curve += train_phase(fabric, network, phase, dataset, splits, augment, schedule)
    if fabric.global_rank > 0:
        return None

    exported = export_network(network, dataset.images[splits.train[:EXAMPLES]])
    calibration, calibration_priors = calibrate(exported, dataset, splits, config.seed)
    holdout = hold_out(exported, dataset, splits)

    policy, refused = default_policy(config, dataset.classes, calibration, calibration_priors, holdout)
    test = holdout.part("test")
    metrics = evaluate(policy, test, calibration_priors, seed=config.seed)
    print(as_table(metrics))
    if not config.holdout:
        return None

    manifest = describe(config, dataset, splits, curve, policy, calibration_priors, metrics)
    report = render_report(manifest, summary(manifest, policy.certificates), curve, policy, test)
    path = save_bundle(models, manifest, network=exported, holdout=holdout, report=report)
    if refused:
        raise DataError(f"{refused}; the bundle {path} is whole, and decides by the rule priors instead")
    return path


def launch(config: TrainingConfig) -> Fabric:
    """Devices, precision and processes as the configuration says, everything seeded."""
    try:
        fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)
        fabric.launch()
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise DataError(f"--accelerator {config.accelerator} with --devices {config.devices}: {error}") from None
    seed_everything(config.seed, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return fabric


def calibrate(exported: bytes, dataset: Dataset, splits: Splits, seed: int) -> tuple[Calibration, np.ndarray]:
    """Calibration and calibration priors `(K,)`; without a calibrate split, the plain softmax and train frequencies."""
    n_classes = len(dataset.classes)
    if splits.calibrate.size == 0:
        counts = np.bincount(dataset.labels[splits.train], minlength=n_classes)
        return Calibration(1.0, np.zeros(n_classes)), counts / counts.sum()
    logits = onnx_logits(exported, dataset.images[splits.calibrate])
    labels, groups = dataset.labels[splits.calibrate], dataset.groups[splits.calibrate]
    calibration = fit_calibration(logits, labels, groups, seed=seed)
    return calibration, calibration.probabilities(logits).mean(axis=0)


def hold_out(exported: bytes, dataset: Dataset, splits: Splits) -> Holdout:
    """The tune and test splits as the exported network sees them."""
    rows = np.concatenate([splits.tune, splits.test])
    names = np.repeat(["tune", "test"], [len(splits.tune), len(splits.test)])
    logits = onnx_logits(exported, dataset.images[rows]).astype(np.float64)
    return Holdout(logits, dataset.labels[rows], names, dataset.groups[rows])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 2 and one line where usage or data are wrong."""
    config, models = parse(arguments)
    try:
        path = run(config, models)
    except (DataError, ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if path is not None:
        bundle = load_bundle(path)
        print(*bundle.policy().certificates, f"bundle: {path} ({bundle.id})", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
