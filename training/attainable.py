"""What certificates the held-out images of a class can bear, and how many images a target would take."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision.certificates import images_needed
from training.dataset import Dataset
from training.splits import REST_SHARES, TEST_SHARE, Splits

RECALLS = (0.9, 0.95, 0.99)
CONFIDENCE = 0.95

Pool = Literal["in all", "outside test", "in val"]


@dataclass(frozen=True)
class Target:
    """A recall to certify with confidence 0.95, and the images (groups) of a class that it takes.

    `held_out` is the fewest in the tune split, `jointly` the fewest where all classes are certified together
    (Bonferroni), `total` how many of the class are enough before splitting, counted over the `Pool`.
    """

    recall: float
    held_out: int
    jointly: int
    total: int


def targets(dataset: Dataset) -> tuple[Target, ...]:
    """What each of `RECALLS` takes. Law: a class of `total` groups, split, has at least `held_out` in tune."""
    delta, n_classes, (_, share) = 1 - CONFIDENCE, len(dataset.classes), pool(dataset)
    needed = [(recall, images_needed(recall, delta), images_needed(recall, delta / n_classes)) for recall in RECALLS]
    return tuple(Target(recall, alone or 0, jointly or 0, math.ceil((alone or 0) / share - 1e-9))
                 for recall, alone, jointly in needed)  # fmt: skip


def pool(dataset: Dataset) -> tuple[Pool, float]:
    """Where the tune split is drawn from, and its share of that: as `training.splits.split` deals."""
    rest = 1.0 if "test" in dataset.parts else 1 - TEST_SHARE
    if "val" in dataset.parts:
        return "in val", rest * 0.5
    return "outside test" if rest == 1.0 else "in all", rest * REST_SHARES[2]


def held_out(dataset: Dataset, splits: Splits) -> NDArray[np.int64]:
    """Groups of each class in the tune split `(K,)`: a certificate counts one image of each."""
    pairs = np.unique(np.stack([dataset.labels[splits.tune], dataset.groups[splits.tune]]), axis=1)
    return np.bincount(pairs[0], minlength=len(dataset.classes))


def best_recall(n: int) -> float:
    """The highest recall that n held-out images certify with confidence 0.95: δ^(1/n), the smallest as threshold."""
    return float((1 - CONFIDENCE) ** (1 / n)) if n else 0.0
