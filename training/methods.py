"""Remedies for imbalance, each one row: what each phase draws, minimises and trains, and what follows the training."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from training.errors import DataError
from training.losses import CROSS_ENTROPY, Loss
from training.posthoc import BalancedLogits, PostHoc, TauNorm
from training.sampling import NATURAL, Sampling

BALANCED = Sampling("oversample")


@dataclass(frozen=True)
class Phase:
    """One stretch of training, with a warm-up and a decay of the learning rate of its own.

    `trainable="head"` freezes all but the output layer, batch-norm statistics included; `fresh` starts that layer anew;
    `smote` trains it on features, rare classes filled up with synthetic ones.
    """

    name: str
    sampling: Sampling = NATURAL
    loss: Loss = CROSS_ENTROPY
    trainable: Literal["all", "head"] = "all"
    fresh: bool = False
    smote: bool = False
    rate: float = 1.0
    """Learning rate as a multiple of the network's own."""
    length: float = 1.0
    """Epochs at most, as a multiple of the run's own."""


@dataclass(frozen=True)
class Method:
    """Phases in order, the kind of output layer, and what is done to it after training.

    What the logits mean afterwards (a balanced population or the natural one) is not written down anywhere: the
    calibration finds it out on held-out images, so that no prior is corrected for twice.
    """

    phases: tuple[Phase, ...]
    source: str
    head: Literal["linear", "cosine"] = "linear"
    post: PostHoc | None = None


def _one(source: str, sampling: Sampling = NATURAL, loss: Loss = CROSS_ENTROPY) -> Method:
    """A single phase in which everything is trained."""
    name = "natural" if (sampling, loss) == (NATURAL, CROSS_ENTROPY) else "rebalanced"
    return Method((Phase(name, sampling, loss),), source)


def _two_phase(sampling: Sampling) -> Method:
    """Rebalanced first, natural second. Kang et al.'s decoupling (`decoupled`) runs in the opposite order."""
    phases = Phase("rebalanced", sampling), Phase("natural", trainable="head", rate=0.1)
    return Method(phases, "Havaei et al. 2017, section 2; Buda et al. 2018, section 3.2")


def _decoupled(source: str, phase: Phase) -> Method:
    """Natural first, then a new output layer on a frozen body."""
    return Method((Phase("natural"), phase), source)


def _ldam(source: str, **deferred: Any) -> Method:
    """Margins throughout; the weights come when the rate is low (deferred re-weighting)."""
    loss = Loss(margin=0.5)
    late = Phase("reweighted", loss=Loss(margin=0.5, **deferred), rate=0.1, length=0.2)
    return Method((Phase("natural", loss=loss, length=0.8), late), source, head="cosine")


# The parameters of a row are its dials, set on the command line as `oversample:ratio=0.5`.
METHODS: dict[str, Callable[..., Method]] = {
    "baseline": lambda: _one("no remedy"),
    "class-weights": lambda weighting="inverse", beta=0.9999: _one(
        "Cui et al. 2019 (effective number)", loss=Loss(weighting, beta)),
    "oversample": lambda ratio=1.0: _one("Buda et al. 2018", Sampling("oversample", ratio)),
    "undersample": lambda ratio=1.0: _one("Buda et al. 2018", Sampling("undersample", ratio)),
    "mixture": lambda ratio=1.0: _one("over- and undersampling together", Sampling("mixture", ratio)),
    "class-balanced-batches": lambda: _one("every batch holds each class", Sampling("oversample", every_batch=True)),
    "two-phase-oversample": lambda ratio=1.0: _two_phase(Sampling("oversample", ratio)),
    "two-phase-undersample": lambda ratio=1.0: _two_phase(Sampling("undersample", ratio)),
    "decoupled": lambda: _decoupled(
        "Kang et al. 2020, cRT", Phase("balanced", BALANCED, trainable="head", fresh=True)),
    "smote": lambda: _decoupled(
        "Chawla et al. 2002, in feature space", Phase("balanced", BALANCED, trainable="head", fresh=True, smote=True)),
    "tau-norm": lambda tau=None: Method((Phase("natural"),), "Kang et al. 2020", post=TauNorm(tau)),
    "logit-adjusted": lambda tau=1.0: Method((Phase("natural"),), "Menon et al. 2021, eq. 9", post=BalancedLogits(tau)),
    "logit-adjusted-loss": lambda tau=1.0: _one("Menon et al. 2021, eq. 10", loss=Loss(tau=tau)),
    "balanced-softmax": lambda: _one("Ren et al. 2020; logit-adjusted-loss at tau=1", loss=Loss(tau=1.0)),
    "ldam-drw": lambda beta=0.9999: _ldam("Cao et al. 2019", weighting="effective", beta=beta),
    "focal": lambda gamma=2.0: _one("Lin et al. 2017", loss=Loss(gamma=gamma)),
}  # fmt: skip


def parse_method(spec: str) -> Method:
    """The method that `NAME[:dial=value[:dial=value…]]` means. DataError where there is no such row, dial or value."""
    name, *pairs = spec.split(":")
    if name not in METHODS:
        raise DataError(f"expected a method of {', '.join(METHODS)}, got {name!r}")
    dials = {p.name: p.default for p in inspect.signature(METHODS[name]).parameters.values()}
    given: dict[str, Any] = {}
    for pair in pairs:
        dial, equals, text = pair.partition("=")
        if not equals or dial not in dials:
            dialled = f"{name} ({listed_dials(name) or 'it has none'})"
            raise DataError(f"{spec}: expected NAME:dial=value with a dial of {dialled}, got {pair!r}")
        if dial in given:
            raise DataError(f"{spec}: expected each dial once, got {dial} again")
        given[dial] = _value(spec, dial, text, like=dials[dial])
    if "beta" in given and "weighting" in dials and given.get("weighting") != "effective":
        raise DataError(f"{spec}: expected beta with weighting=effective, the one weighting that uses it")
    return METHODS[name](**given)


def listed_dials(name: str) -> str:
    """The dials of a row with their defaults, for help and errors; nothing where it has none."""
    dials = inspect.signature(METHODS[name]).parameters.values()
    return ", ".join(p.name if p.default is None else f"{p.name}={p.default}" for p in dials)


# What a dial may be, wherever it occurs.
_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "ratio": ("above 0, at most 1", lambda v: 0 < v <= 1),
    "beta": ("from 0 to below 1", lambda v: 0 <= v < 1),
    "tau": ("from 0 to 10", lambda v: 0 <= v <= 10),
    "gamma": ("from 0 to 10", lambda v: 0 <= v <= 10),
    "weighting": ("inverse, effective or given", lambda v: v in ("inverse", "effective", "given")),
}


def _value(spec: str, dial: str, text: str, like: Any) -> Any:
    words, allowed = _ALLOWED.get(dial, ("a value of its kind", lambda _: True))
    try:
        value = float(text) if like is None else type(like)(text)
    except ValueError:
        value = None
    if value is None or not allowed(value):
        raise DataError(f"{spec}: expected {dial} {words}, got {text!r}")
    return value
