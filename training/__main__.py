"""python -m training run DATA: data set → phase 1, rebalanced → phase 2, natural → calibrate → bundle."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from decision import Calibration, Holdout, load_bundle, save_bundle
from training.calibrate import fit_calibration
from training.commands import Command, contestant, parse
from training.compare import Contestant, compare
from training.config import TrainingConfig
from training.dataset import Dataset
from training.devices import Devices, launched, seed_all
from training.errors import DataError
from training.evaluate import as_table, evaluate
from training.export import EXAMPLES, export_network, onnx_logits
from training.inspection import as_text, inspect
from training.lead import Lead
from training.loading import load, name_left_out, workers_of
from training.methods import parse_method
from training.networks import build_network, pixels_to_normalise
from training.phases import after_training, train
from training.processes import ending, first_process
from training.record import describe, summary
from training.report import render_report
from training.runlog import RunLog
from training.setting import Setting
from training.splits import Splits, split
from training.targets import default_policy, require_certifiable


def run(config: TrainingConfig, devices: Devices, models: Path, runs: Path) -> Path | None:
    """Train as `config` says, write the bundle below `models`, and return its folder.

    What is needed to resume, and TensorBoard's curves, go below `runs`. Without a holdout there is nothing to calibrate
    on and no bundle: the metrics are printed, as for a paper. None also on all processes but the first.
    """
    seed_all(config.seed)
    config = replace(config, machine=devices.machine)
    with ExitStack() as opened:
        with devices.stage():
            dataset = load(config)
            name_left_out(dataset)
            config = config.settled(dataset)
            splits = split(dataset, config.imbalance, config.seed, holdout=config.holdout)
            require_certifiable(config, dataset, splits)
            method = parse_method(config.method)
            network = build_network(config.network, dataset.input, len(dataset.classes),
                                    pixels_to_normalise(dataset.images, splits.train), method.head)  # fmt: skip

            setting = Setting.of(config, devices, dataset, splits)
            folder = runs / f"{config.name}-{config.digest(dataset.fingerprint())}"
            log = opened.enter_context(RunLog(folder, dataset.classes, writes=devices.first))
            curve = train(setting, network, method, log, resume=config.resume)
        if not devices.first:
            return None
        after_training(setting, network, method)

        exported = export_network(network, dataset.images[splits.train[:EXAMPLES]])
        calibration, calibration_priors = calibrate(exported, dataset, splits, config.seed, setting.workers)
        holdout = hold_out(exported, dataset, splits, setting.workers)

        policy, refused = default_policy(config, dataset.classes, calibration, calibration_priors, holdout)
        test = holdout.part("test")
        metrics = evaluate(policy, test, splits.mix(dataset), seed=config.seed)
        print(as_table(metrics, policy.document.rule.kind))
        if not config.holdout:
            log.finish()
            return None

        manifest = describe(config, dataset, splits, method, curve, policy, calibration_priors, metrics)
        report = render_report(manifest, summary(manifest, policy.certificates), curve, policy, test)
        path = save_bundle(models, manifest, network=exported, holdout=holdout, report=report)
        log.finish()
    if refused:
        raise DataError(f"{refused}; the bundle {path} is whole, and decides by the rule priors instead")
    return path


def calibrate(
    exported: bytes, dataset: Dataset, splits: Splits, seed: int, workers: int
) -> tuple[Calibration, np.ndarray]:
    """Calibration and calibration priors `(K,)`; without a calibrate split, the plain softmax and train frequencies."""
    n_classes = len(dataset.classes)
    if splits.calibrate.size == 0:
        counts = dataset.counts(splits.train)
        return Calibration(1.0, np.zeros(n_classes)), counts / counts.sum()
    logits = onnx_logits(exported, dataset.images, splits.calibrate, workers=workers)
    labels, groups = dataset.labels[splits.calibrate], dataset.groups[splits.calibrate]
    calibration = fit_calibration(logits, labels, groups, seed=seed)
    return calibration, calibration.probabilities(logits).mean(axis=0)


def hold_out(exported: bytes, dataset: Dataset, splits: Splits, workers: int) -> Holdout:
    """The tune and test splits as the exported network sees them."""
    rows = np.concatenate([splits.tune, splits.test])
    names = np.repeat(["tune", "test"], [len(splits.tune), len(splits.test)])
    logits = onnx_logits(exported, dataset.images, rows, workers=workers).astype(np.float64)
    return Holdout(logits, dataset.labels[rows], names, dataset.groups[rows])


def _run(command: Command) -> None:
    """Train, and say where the bundle is and what it promises."""
    with launched(command.config.machine) as devices:
        path = run(command.config, devices, command.models, command.runs)
    if path is not None:
        bundle = load_bundle(path)
        print(*bundle.policy().certificates, f"bundle: {path} ({bundle.id})", sep="\n")


def _inspect(command: Command) -> None:
    """Print what is to be known of the data before anything is trained on them."""
    config = command.config
    dataset = load(config, skip_broken=True)
    found = inspect(dataset, config.imbalance, config.seed, workers=workers_of(config),
                    batch_size=config.batch_size)  # fmt: skip
    print(json.dumps(found.record(), indent=2) if command.json else as_text(found))


def _compare(command: Command) -> int:
    """Train each method with each seed, and write the comparison; 1 where a cell is missing."""
    with launched(command.config.machine) as devices:
        asked = replace(command.config, machine=devices.machine)
        contestants = [Contestant(spec, contestant(asked, spec)) for spec in command.methods]
        try:
            comparison = compare(asked, contestants, command.seeds, command.out,
                                 train=lambda config, models: run(config, devices, models, command.out / "runs"),
                                 lead=Lead(devices.first, devices.fabric.broadcast))  # fmt: skip
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on with what is missing") from None
    return int(comparison is not None and bool(comparison.facts["missing"]))


COMMANDS = {"run": _run, "inspect": _inspect, "compare": _compare}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 where a comparison lacks a cell, one line and 2 where usage or data are wrong, 130 on Ctrl-C."""
    command = parse(arguments)
    try:
        status = COMMANDS[command.name](command) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # who read what is printed, as `head` does, has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 128 + signal.SIGPIPE
    except (KeyboardInterrupt, Exception) as error:
        if (known := ending(error)) is None:
            raise
        line, status = known
        if first_process():
            print(line, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
