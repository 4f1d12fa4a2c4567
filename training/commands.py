"""The command line, and everything a run can be told as one frozen value."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from decision.bundle import NAME_PATTERN
from decision.certificates import Covers
from training.dataset import FLIPS, DataError, Dataset, Flips
from training.imbalance import Imbalance
from training.methods import METHODS
from training.networks import NETWORKS

T = TypeVar("T")
DATA = """DATA is digits (embedded; a step 10:1 unless --imbalance says otherwise), mnist, fashion-mnist, cifar10,
cifar100, a folder of class folders (or train/ val/ test/ with such folders; groups.csv keeps related images
together), or an .npz with x_train, y_train, x_test, y_test, classes."""


@dataclass(frozen=True)
class TrainingConfig:
    """One run. It goes into the bundle, so it names no path of a machine: see `record`."""

    data: str
    name: str
    method: str = "two-phase-oversample"
    network: str = "small"
    imbalance: Imbalance | None = None
    size: tuple[int, int] | None = None
    flips: Flips | None = None
    shift: float = 0.1
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    patience: int = 10
    seed: int = 0
    rule: str = "priors"
    recall: tuple[tuple[str, float], ...] = ()
    confidence: float = 0.95
    covers: Covers = "flag"
    holdout: bool = True
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"

    def settled(self, dataset: Dataset) -> "TrainingConfig":
        """With what the data and the network decide where nothing was said."""
        spec = dataset.input
        rate = self.learning_rate or NETWORKS[self.network].learning_rate
        return replace(self, size=(spec.height, spec.width), flips=dataset.flips, learning_rate=rate)

    def record(self) -> dict[str, Any]:
        """The configuration as JSON, the data by its name alone."""
        imbalance = None if self.imbalance is None else str(self.imbalance)
        return asdict(self) | {"data": Path(self.data).name, "imbalance": imbalance, "recall": dict(self.recall)}

    def document(self) -> dict[str, Any]:
        """The bundle's default policy."""
        rule: dict[str, Any] = {"kind": self.rule}
        if self.rule == "recall":
            rule |= {"targets": dict(self.recall), "confidence": self.confidence, "covers": self.covers}
        return {"rule": rule}


def parse(arguments: Sequence[str] | None) -> tuple[TrainingConfig, Path]:
    """The configuration that a command line means, and the folder for bundles. Exits with 2 on bad usage."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    del given["command"]
    models = given.pop("models")
    given["name"] = given["name"] or re.sub(r"[^A-Za-z0-9._-]+", "-", Path(given["data"]).stem).strip("-._") or "model"
    if not re.match(NAME_PATTERN, given["name"]):
        parser.error(f"expected a --name of letters, digits, dots, dashes and underscores, got {given['name']!r}")
    if given["imbalance"] is None and given["data"] == "digits":
        given["imbalance"] = Imbalance("step", rho=10, mu=0.5)
    elif given["imbalance"] == "none":
        given["imbalance"] = None
    given["recall"] = tuple(given["recall"])
    if not given["recall"] and (given["confidence"] is not None or given["covers"] is not None):
        parser.error("expected --confidence and --covers only with --recall")
    given["confidence"] = given["confidence"] or TrainingConfig.confidence
    given["covers"] = given["covers"] or TrainingConfig.covers
    given["rule"] = given["rule"] or ("recall" if given["recall"] else TrainingConfig.rule)
    if (given["rule"] == "recall") != bool(given["recall"]):
        parser.error("expected --rule recall with at least one --recall CLASS=RECALL, and these with no other rule")
    if len(dict(given["recall"])) < len(given["recall"]):
        parser.error("expected one --recall for each class")
    if given["recall"] and not given["holdout"]:
        parser.error("expected a holdout with --recall: certificates come from held-out images")
    return TrainingConfig(**given), models


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m training", description="From images to a bundle that can be served.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", allow_abbrev=False, help="train and write a bundle", description=DATA,
                              formatter_class=argparse.ArgumentDefaultsHelpFormatter)  # fmt: skip

    def add(name: str, **options: Any) -> None:
        """An option, its default that of the field of the same name."""
        field = name.removeprefix("--").replace("-", "_")
        run.add_argument(name, **{"default": getattr(TrainingConfig, field, None)} | options)

    run.add_argument("data", metavar="DATA")
    add("--name", help="the model's name; default: the data's")
    add("--models", type=Path, default=Path("models"), help="the folder that bundles go to")
    add("--method", choices=METHODS, help="remedy for the imbalance")
    add("--network", choices=NETWORKS, help="architecture")
    add("--imbalance", type=_or_usage(_imbalance), metavar="SHAPE",
        help="thin to step:mu=0.5,rho=10, linear:rho=10 or exponential:rho=100 (most=5000 caps), or none")  # fmt: skip
    add("--size", type=_or_usage(_size), metavar="HxW", help="resize all images; default: as they are")
    add("--flips", choices=FLIPS, help="mirrorings that keep every label; default: what is known of the data")
    add("--shift", type=_or_usage(_share), help="largest move of an image, as a share of its sides")
    add("--epochs", type=_or_usage(_count), help="most epochs of a phase")
    add("--batch-size", type=_or_usage(_count), help="images a step")
    add("--learning-rate", type=_or_usage(_positive), help="phase 1's; default: the network's own")
    add("--weight-decay", type=_or_usage(_not_negative), help="of stochastic gradient descent")
    add("--patience", type=_or_usage(_count), help="epochs without a better calibrate loss before a phase ends")
    add("--seed", type=_or_usage(_seed), help="of splits, weights and batches")
    add("--rule", default=None, choices=("argmax", "priors", "recall"),
        help="rule of the bundle's default policy; default: recall with --recall, else priors")  # fmt: skip
    add("--recall", action="append", default=[], type=_or_usage(_target), metavar="CLASS=RECALL",
        help="certify a threshold that keeps this recall, as crack=0.95; may be repeated")  # fmt: skip
    add("--confidence", type=_or_usage(_between), default=None, help="of all certificates together; default: 0.95")
    add("--covers", choices=get_args(Covers), default=None,
        help="what is certified: that a class is flagged (default), or that it is the label")  # fmt: skip
    add("--no-holdout", dest="holdout", action="store_false", default=True, help="train on all but test; no bundle")
    add("--accelerator", help="auto, cpu or cuda")
    add("--devices", type=_or_usage(_count), help="processes, one a device")
    add("--precision", help="32-true, bf16-mixed or 16-mixed")
    return parser


def _or_usage(read: Callable[[str], T]) -> Callable[[str], T]:
    """argparse prints the text of its own error type only."""

    def reader(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader


def _imbalance(text: str) -> Imbalance | str:
    return text if text == "none" else Imbalance.parse(text)


def _size(text: str) -> tuple[int, int]:
    if not (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise DataError(f"expected a size like 64x48 (height x width), got {text!r}")
    return int(match[1]), int(match[2])


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share < 0.5:
        raise DataError(f"expected a share from 0 to below 0.5, got {text!r}")
    return share


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _target(text: str) -> tuple[str, float]:
    name, equals, recall = text.rpartition("=")
    if not equals or not name:
        raise DataError(f"expected a class and its recall like crack=0.95, got {text!r}")
    return name, _between(recall)


def _between(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < 1:
        raise DataError(f"expected a number between 0 and 1, got {text!r}")
    return number


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise DataError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _not_negative(text: str) -> float:
    if not (number := float(text)) >= 0:
        raise DataError(f"expected a number of at least 0, got {text!r}")
    return number


def _positive(text: str) -> float:
    if not (number := float(text)) > 0:
        raise DataError(f"expected a number above 0, got {text!r}")
    return number
