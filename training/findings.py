"""What an inspection found in a data set and advises, as values."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.attainable import Pool, Target
from training.duplicates import Duplicates
from training.rarity import Size


@dataclass(frozen=True)
class ClassFinding:
    """One class: how many images, how rare against nothing and against the others, and what could be certified.

    `relative` is its share of the train images against the uniform 1/K. `held_out` are its groups in the tune split,
    which certify each of the recalls `certifiable` by itself, and at most `best_recall`, with confidence 0.95.
    """

    name: str
    parts: Mapping[str, int]
    splits: Mapping[str, int]
    train: int
    share: float
    relative: float
    size: Size
    relatively_rare: bool
    minority: bool
    held_out: int
    certifiable: tuple[float, ...]
    best_recall: float


@dataclass(frozen=True)
class Findings:
    """All that is found before anything is advised; classes in the order of the data.

    Where the split was `refused`, classes have no `splits`, and train images are those of the source's train part.
    `majority_share_test` is the share of the most frequent train class in the test split.
    """

    data: str
    imbalance: str | None
    seed: int
    images: int
    groups: int
    refused: str | None
    train: int
    rho: float
    mu: float
    majority: str
    majority_share: float
    majority_share_test: float | None
    classes: tuple[ClassFinding, ...]
    pool: Pool
    targets: tuple[Target, ...]
    duplicates: Duplicates
    unreadable: tuple[str, ...]
    not_images: tuple[str, ...]
    batch_size: int


@dataclass(frozen=True)
class Advice:
    """What was `seen`, what to do about it in one sentence, and who says so."""

    seen: str
    advice: str
    source: str


@dataclass(frozen=True)
class Inspection:
    """The findings, and what they advise."""

    findings: Findings
    advice: tuple[Advice, ...]

    def record(self) -> dict[str, Any]:
        """All of it as JSON reads it: dicts, lists, strings and finite numbers."""
        document = asdict(self.findings) | {"advice": [asdict(advice) for advice in self.advice]}
        record: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
        return record
