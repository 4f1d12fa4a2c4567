"""The command line: what was asked for, as values."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn, get_args

from decision.bundle import NAME_PATTERN
from decision.certificates import Covers
from decision.images import Resize
from training import read
from training.augment import KINDS
from training.config import AugmentedClasses, Compile, Machine, Precision, TrainingConfig
from training.dataset import FLIPS
from training.errors import DataError
from training.imbalance import Imbalance
from training.merge import parse_merge
from training.methods import METHODS, listed_dials, parse_method
from training.networks import NETWORKS
from training.writable import require_writable

DATA = """DATA is digits (embedded; a step 10:1 unless --imbalance says otherwise), mnist, fashion-mnist, cifar10,
cifar100, a folder of class folders (or train/ val/ test/ with such folders; groups.csv keeps related images
together), or an .npz with x_train, y_train, x_test, y_test, classes."""
COMPARED = "baseline,class-weights,oversample,undersample,two-phase-oversample,balanced-softmax"
AUGMENTATIONS = {"augment": KINDS, "augment_classes": get_args(AugmentedClasses)}
"""What `compare` lets a method's name set beside the dials of its row, and its values."""
NOT_COMPARED = {"balanced-softmax": "logit-adjusted-loss"}
"""Of `--methods all`, a row that trains the same as another."""


@dataclass(frozen=True)
class Command:
    """A command, the configuration it means, and where its files go."""

    name: str
    config: TrainingConfig
    models: Path = Path("models")
    runs: Path = Path("runs")
    methods: tuple[str, ...] = ()
    seeds: int = 1
    out: Path = Path("comparison")
    json: bool = False


def parse(arguments: Sequence[str] | None) -> Command:
    """The command that a command line means. Exits with 2 on bad usage."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    try:
        return _command(given)
    except DataError as error:
        parser.error(str(error))


def contestant(config: TrainingConfig, spec: str) -> TrainingConfig:
    """The run of a method as `compare` names it: beside a row's dials, it may set `augment` and `augment_classes`."""
    name, *pairs = spec.split(":")
    changes: dict[str, Any] = {}
    for field, allowed in AUGMENTATIONS.items():
        for pair in [pair for pair in pairs if pair.startswith(f"{field}=")]:
            pairs.remove(pair)
            if field in changes:
                raise DataError(f"{spec}: expected each dial once, got {field} again")
            changes[field] = pair.partition("=")[2]
            if changes[field] not in allowed:
                raise DataError(f"{spec}: expected {field} of {', '.join(allowed)}, got {changes[field]!r}")
    method = ":".join([name, *pairs])
    if not _may_weigh(method):
        changes["class_weight"] = ()
    return _checked(replace(config, method=method, **changes))


def _command(given: dict[str, Any]) -> Command:
    """The parsed arguments as values. DataError where they do not go together."""
    machine = Machine(**{f.name: given.pop(f.name) for f in fields(Machine) if f.name in given})
    name = given.pop("command")
    command = {f.name: given.pop(f.name) for f in fields(Command)[2:] if f.name in given}
    given["name"] = given.get("name") or _safe(Path(given["data"]).stem)
    if not re.match(NAME_PATTERN, given["name"]):
        raise DataError(f"expected a --name of letters, digits, dots, dashes and underscores, got {given['name']!r}")
    if given["imbalance"] is None and given["data"] == "digits":
        given["imbalance"] = Imbalance("step", rho=10, mu=0.5)
    elif given["imbalance"] == "none":
        given["imbalance"] = None
    for option in ("models", "runs", "out"):
        if option in command:
            require_writable(option, command[option])
    for several in ("recall", "merge", "class_weight"):
        if several in given:
            given[several] = tuple(given[several])
            if len(dict(given[several])) < len(given[several]):
                raise DataError(f"expected one --{several.replace('_', '-')} for each class")
    if name == "run":
        _require_policy(given)
    config = TrainingConfig(**given, machine=machine)
    if name == "compare":
        command["methods"] = _specs(command["methods"])
        contestants = [contestant(config, spec) for spec in command["methods"]]
        if config.class_weight and not any(c.class_weight for c in contestants):
            raise DataError("expected class-weights among --methods with --class-weight, got none")
    else:
        config = _checked(config)
    return Command(name, config, **command)


def _checked(config: TrainingConfig) -> TrainingConfig:
    """With the dial that --class-weight asks for. DataError where there is no such method, dial or value."""
    for pair in config.method.split(":")[1:]:
        if (field := pair.partition("=")[0]) in AUGMENTATIONS:
            option = f"--{field.replace('_', '-')} {pair.partition('=')[2]}"
            raise DataError(f"{config.method}: expected {option} beside --method: {field} is part of a method's name "
                            "in compare's --methods only")  # fmt: skip
    if config.class_weight and _may_weigh(config.method) and "weighting=" not in config.method:
        config = replace(config, method=f"{config.method}:weighting=given")
    as_given = any(phase.loss.weighting == "given" for phase in parse_method(config.method).phases)
    if as_given != bool(config.class_weight):
        raise DataError("expected --class-weight with the method class-weights (weighting=given), and with no other")
    return config


def _may_weigh(method: str) -> bool:
    """Whether --class-weight is for this method: class-weights, unless its weighting is another one."""
    name, *pairs = method.split(":")
    return name == "class-weights" and not {"weighting=inverse", "weighting=effective"} & set(pairs)


def _specs(text: str) -> tuple[str, ...]:
    """The methods of a list, `all` standing for every row."""
    rows = [name for name in METHODS if name not in NOT_COMPARED]
    specs = tuple(spec for item in text.split(",") if item for spec in (rows if item == "all" else [item]))
    if not specs or len(set(specs)) < len(specs):
        raise DataError(f"expected distinct methods separated by commas, got {text!r}")
    return specs


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "model"


def _require_policy(given: dict[str, Any]) -> None:
    """Fill in what the rule decides. DataError where rule, targets and holdout do not go together."""
    if not given["recall"] and (given["confidence"] is not None or given["covers"] is not None):
        raise DataError("expected --confidence and --covers only with --recall")
    given["confidence"] = given["confidence"] or TrainingConfig.confidence
    given["covers"] = given["covers"] or TrainingConfig.covers
    given["rule"] = given["rule"] or ("recall" if given["recall"] else TrainingConfig.rule)
    if (given["rule"] == "recall") != bool(given["recall"]):
        raise DataError("expected --rule recall with at least one --recall CLASS=RECALL, and these with no other rule")
    if given["recall"] and not given["holdout"]:
        raise DataError("expected a holdout with --recall: certificates come from held-out images")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line; --help has the rest."""
        self.exit(2, f"error: {message}; {self.prog} --help says more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "python -m training", description="From images to a bundle that can be served.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, description: str = DATA) -> Callable[..., None]:
        """A command that takes DATA; what is returned adds an option, its default that of the field of its name."""
        sub = commands.add_parser(name, allow_abbrev=False, help=text, description=description,
                                  formatter_class=_Help)  # fmt: skip
        sub.add_argument("data", metavar="DATA", help="digits, mnist, …, a folder or an .npz: see above")

        def add(name: str, **options: Any) -> None:
            field = name.removeprefix("--").replace("-", "_")
            values = [getattr(c, field) for c in (TrainingConfig, Machine, Command) if hasattr(c, field)]
            if "type" in options:
                options["type"] = _or_usage(options["type"])
            options.setdefault("default", values[0] if values else None)
            sub.add_argument(name, **options)

        return add

    add = command("inspect", "counts, imbalance, duplicates, what can be certified; advice")
    _data_options(add)
    add("--json", action="store_true", help="print the findings as JSON")

    add = command("run", "train and write a bundle", DATA + " " + _methods_help())
    add("--name", default=None, help="the model's name; default: the data's")
    add("--models", type=Path, help="the folder that bundles go to")
    add("--method", help="remedy for the imbalance, as NAME or NAME:dial=value")
    _data_options(add)
    _training_options(add)
    add("--runs", type=Path, help="the folder for checkpoints and TensorBoard's curves")
    add("--resume", action="store_true", help="go on after the last whole epoch of the same run, if it was stopped")
    _policy_options(add)

    add = command("compare", "train several methods with several seeds and report", DATA + " " + _methods_help())
    add("--methods", default=COMPARED, metavar="A,B,C",
        help="all, or some, each with dials and an augmentation: oversample:ratio=0.5,focal:augment=mixup")  # fmt: skip
    add("--seeds", type=read.count, default=3, help="runs of each method")
    add("--out", type=Path, help="the folder for models, compare.json, compare.md and compare.html; an interrupted "
        "comparison goes on from what is there")  # fmt: skip
    _data_options(add)
    _training_options(add)
    return parser


def _methods_help() -> str:
    named = (f"{name} ({dials})" if (dials := listed_dials(name)) else name for name in METHODS)
    return f"Methods and their dials: {'; '.join(named)}."


def _data_options(add: Callable[..., None]) -> None:
    add("--imbalance", type=read.imbalance, metavar="SHAPE",
        help="thin to step:mu=0.5,rho=10, linear:rho=10 or exponential:rho=100 (most=5000 caps), or none")  # fmt: skip
    add("--merge", action="append", default=[], type=parse_merge, metavar="NEW=A,B",
        help="make one class of several, as birds=penguin,parrot; may be repeated")  # fmt: skip
    add("--size", type=read.size, metavar="HxW", help="resize all images; default: as they are")
    add("--resize", choices=get_args(Resize),
        help="draft: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size first, as in the service then")  # fmt: skip
    add("--seed", type=read.seed, help="of splits, weights and batches")
    add("--workers", type=read.not_negative_count, help="processes that decode; default: one for each other core")
    add("--memory", type=read.positive, metavar="GIB",
        help="for decoded images; more are decoded when they are needed; default: half of what is free")  # fmt: skip


def _training_options(add: Callable[..., None]) -> None:
    add("--network", choices=NETWORKS, help="architecture")
    add("--class-weight", action="append", default=[], type=read.class_weight, metavar="CLASS=WEIGHT",
        help="for class-weights alone, as dog=5; others weigh 1; may be repeated")  # fmt: skip
    add("--augment", choices=KINDS,
        help="light: mirror and move; strong: RandAugment besides; mixup: light, and images blended")  # fmt: skip
    add("--augment-classes", choices=get_args(AugmentedClasses),
        help="which are augmented; rare: those with fewer images than the mean class")  # fmt: skip
    add("--flips", choices=FLIPS, help="mirrorings that keep every label; default: what is known of the data")
    add("--shift", type=read.share, help="largest move of an image, as a share of its sides")
    add("--epochs", type=read.count, help="most epochs of a phase")
    add("--batch-size", type=read.count, help="images a step, over all devices")
    add("--learning-rate", type=read.positive, help="of a phase that trains everything; default: the network's own")
    add("--weight-decay", type=read.not_negative, help="of stochastic gradient descent")
    add("--patience", type=read.count, help="epochs without a better calibrate loss before a phase ends")
    add("--skip-broken", action="store_true", help="leave out files that cannot be read, rather than refuse the data")
    add("--accelerator", help="auto, cpu or cuda")
    add("--devices", type=read.count, help="processes on this machine, one a device")
    add("--nodes", type=read.count, help="machines, each started by torchrun")
    add("--precision", choices=get_args(Precision), help="auto: bf16-mixed on a GPU that has it, else 32-true")
    add("--compile", choices=get_args(Compile), help="torch.compile; auto: on a GPU")


def _policy_options(add: Callable[..., None]) -> None:
    add("--rule", default=None, choices=("argmax", "priors", "recall"),
        help="rule of the bundle's default policy; default: recall with --recall, else priors")  # fmt: skip
    add("--recall", action="append", default=[], type=read.target, metavar="CLASS=RECALL",
        help="certify a threshold that keeps this recall, as crack=0.95; may be repeated")  # fmt: skip
    add("--confidence", type=read.between, default=None, help="that all certificates hold together; default: 0.95")
    add("--covers", choices=get_args(Covers), default=None,
        help="what is certified: that a class is flagged (default), or that it is the label")  # fmt: skip
    add("--no-holdout", dest="holdout", action="store_false", default=True,
        help="train on all but test and print its metrics, as papers do; writes no bundle")  # fmt: skip


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Says what a default is, where it is something to say, and the text does not."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        nothing = action.default is None or isinstance(action.default, bool | list)
        return action.help if nothing or "default" in (action.help or "") else super()._get_help_string(action)


def _or_usage(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse prints the text of its own error type only."""

    def read_or_refuse(text: str) -> Any:
        try:
            return reader(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_or_refuse
