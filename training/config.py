"""Everything a run can be told, as frozen values: the recipe, which goes into the bundle, and the machine."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from decision.certificates import Covers
from decision.images import Resize
from training.augment import Kind
from training.dataset import Dataset, Flips
from training.imbalance import Imbalance
from training.networks import NETWORKS

AugmentedClasses = Literal["all", "rare"]
SettledPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
Precision = Literal["auto", SettledPrecision]
Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Machine:
    """Where and how fast a run goes; but for rounding it changes no result. `precision`, which does, is recorded."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "auto"
    compile: Compile = "auto"
    workers: int | None = None
    memory: float | None = None
    """GiB that decoded images may take; None: half of what is available."""


@dataclass(frozen=True)
class TrainingConfig:
    """One run. It goes into the bundle, so it names no path of a machine: see `record`."""

    data: str
    name: str
    method: str = "two-phase-oversample"
    class_weight: tuple[tuple[str, float], ...] = ()
    network: str = "small"
    imbalance: Imbalance | None = None
    merge: tuple[tuple[str, tuple[str, ...]], ...] = ()
    skip_broken: bool = False
    size: tuple[int, int] | None = None
    resize: Resize = "bilinear"
    augment: Kind = "light"
    augment_classes: AugmentedClasses = "all"
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
    resume: bool | None = False
    """None: where there is something to resume, without a word where there is not."""
    machine: Machine = Machine()

    def settled(self, dataset: Dataset) -> "TrainingConfig":
        """With what the data and the network decide where nothing was said."""
        spec = dataset.input
        rate = self.learning_rate or NETWORKS[self.network].learning_rate
        return replace(self, size=(spec.height, spec.width), flips=dataset.flips, learning_rate=rate)

    def record(self) -> dict[str, Any]:
        """The configuration as JSON, the data by its name alone."""
        recipe = {name: value for name, value in asdict(self).items() if name not in ("machine", "resume")}
        return recipe | {
            "data": Path(self.data).name,
            "imbalance": None if self.imbalance is None else str(self.imbalance),
            "merge": {name: list(members) for name, members in self.merge},
            "class_weight": dict(self.class_weight),
            "recall": dict(self.recall),
            "size": self.size and list(self.size),
            "precision": self.machine.precision,
        }

    def digest(self, fingerprint: str) -> str:
        """8 hex digits of what is trained on which data (`Dataset.fingerprint`): attempts at one run share them."""
        return hashlib.sha256(json.dumps([self.record(), fingerprint]).encode()).hexdigest()[:8]

    def document(self) -> dict[str, Any]:
        """The bundle's default policy."""
        rule: dict[str, Any] = {"kind": self.rule}
        if self.rule == "recall":
            rule |= {"targets": dict(self.recall), "confidence": self.confidence, "covers": self.covers}
        return {"rule": rule}
