"""Certificates: thresholds for a target recall whose promise holds with a stated confidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv

from decision.arrays import Flags, Priors, Probabilities
from decision.errors import Fault, PolicyError, pointer
from decision.holdout import Holdout
from decision.intervals import Interval
from decision.mixtures import Strata, precision

Covers = Literal["flag", "label"]

MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class Certificate:
    """The proof that goes with a threshold tuned for recall.

    P(issued and true recall < `recall`) ≤ 1 - `confidence`, jointly over `joint` targets. `threshold` is the
    `rank`-th smallest adjusted probability of the class among `n` held-out images (groups) of it.
    """

    threshold: float
    rank: int
    n: int
    recall: float
    confidence: float
    class_name: str = "the class"
    joint: int = 1
    covers: Covers = "flag"
    expected_precision: Interval | None = None

    ASSUMES: ClassVar = (
        "assumes a policy chosen without looking at the tune labels, and new images of the class distributed "
        "like the held-out ones"
    )

    def __str__(self) -> str:
        what = "recall" if self.covers == "flag" else "label recall"
        joint = "" if self.joint == 1 else f" (jointly over {self.joint} targets)"
        expected = (
            self.expected_precision and f", expected precision {self.expected_precision} at the deployment priors"
        )
        return (
            f"{what} of {self.class_name} ≥ {self.recall} with confidence {self.confidence}{joint}, from {self.n} "
            f"held-out images, threshold {self.threshold:.4g}{expected or ''}; {self.ASSUMES}"
        )


@dataclass(frozen=True)
class Shortfall(Fault):
    """A target out of reach: the most its images certify, and how many of them would do (None: more would not help)."""

    best_recall: float
    needed: int | None


class NotCertifiable(PolicyError):
    """No threshold can be certified for at least one target; `faults` are a Shortfall each."""

    def __init__(self, *shortfalls: Shortfall) -> None:
        super().__init__(*shortfalls)
        self.faults: tuple[Shortfall, ...] = shortfalls

    @property
    def best_recall(self) -> float:
        """The highest recall that the first such target's images certify, δ^(1/n) where none is lost."""
        return self.faults[0].best_recall

    @property
    def needed(self) -> int | None:
        """How many images of the first such target's class would do; None where more of the same would not help."""
        return self.faults[0].needed


def certify(positives: ArrayLike, *, recall: float, confidence: float, joint: int = 1) -> Certificate:
    """The largest threshold that the adjusted probabilities `(n,)` of a class, on n held-out images of it, can certify.

    Neyman-Pearson order statistic (Tong, Feng and Li 2018, proposition 1): with α = 1 - recall and
    δ = (1 - confidence) / joint (Bonferroni), the rank r is the largest with BinomCDF(r - 1; n, α) ≤ δ and
    the threshold is the r-th smallest value; a class is flagged iff its probability is at least that.

    Law: P(issued and true recall < recall) ≤ δ for any distribution; ties only raise the recall. Raises
    NotCertifiable where no rank will do, ValueError for values that are no probabilities (-inf, for an
    image that another class takes, is let through) or a recall or confidence outside (0, 1).
    """
    values = np.asarray(positives, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any() or (values > 1).any() or ((values < 0) & ~np.isneginf(values)).any():
        raise ValueError(f"expected probabilities of shape (n,), got shape {values.shape} with values outside [0, 1]")
    if not (0 < recall < 1 and 0 < confidence < 1):
        raise ValueError(f"expected recall and confidence between 0 and 1, got {recall} and {confidence}")
    values, n, delta = np.sort(values), len(values), (1.0 - confidence) / joint
    rank = largest_rank(n, recall, delta)
    threshold = float(values[rank - 1]) if rank else -np.inf
    if threshold == -np.inf:
        raise NotCertifiable(_shortfall(values, recall, confidence, joint))
    return Certificate(threshold, rank, n, recall, confidence, joint=joint)


def _shortfall(values: NDArray[np.float64], recall: float, confidence: float, joint: int) -> Shortfall:
    n, lost, delta = len(values), int(np.isneginf(values).sum()), (1.0 - confidence) / joint
    best = float(betaincinv(n - lost, lost + 1, delta)) if n > lost else 0.0
    needed = images_needed(recall, delta, lost / n if n else 0.0)
    would = f"expected at least {needed:,}" if needed else f"no number of them up to {MOST_IMAGES:,} would do"
    jointly = "" if joint == 1 else f", jointly over {joint} targets,"
    detail = (
        f"recall {recall} is not certifiable with confidence {confidence}{jointly} from {n:,} held-out images: "
        f"{would}; they certify a recall of up to {math.floor(best * 1000) / 1000:g}"
    )
    return Shortfall("", detail, best, needed)


def largest_rank(n: int, recall: float, delta: float) -> int:
    """The largest r with BinomCDF(r - 1; n, 1 - recall) ≤ δ, or 0 where there is none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if bdtr(middle - 1, n, 1.0 - recall) <= delta else (low, middle - 1)
    return low


def images_needed(recall: float, delta: float, lost: float = 0.0) -> int | None:
    """A number of images that certifies `recall` when a share `lost` of them is out of reach.

    Without a loss it is the smallest, the n from which on recall^n ≤ δ. None where no n up to ten million will do.
    """
    if lost == 0:
        fewest = max(1, math.ceil(math.log(delta) / math.log(recall) - 1e-9))
        fewest += largest_rank(fewest, recall, delta) == 0  # where recall^n is δ but for rounding
        return fewest if fewest <= MOST_IMAGES else None

    def enough(n: int) -> bool:
        return largest_rank(n, recall, delta) > math.ceil(lost * n)

    low, high = 0, 1
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Target:
    """A recall to certify for class number `k`, called `name`."""

    k: int
    name: str
    recall: float


def certify_targets(
    targets: Sequence[Target], holdout: Holdout, adjusted: Probabilities, priors: Priors, *,
    confidence: float, covers: Covers, seed: int,
) -> list[Certificate]:  # fmt: skip
    """A certificate for each target, in order of priority, all together with this confidence.

    `adjusted` `(n, K)` are the probabilities of the holdout's images at the deployment `priors`. Thresholds come from
    the tune split, one image a group drawn by the seed; expected precision from the test split. With covers="label",
    an image that an earlier class flags is lost to a later one: earlier thresholds come from other classes' images,
    so the law holds, as long as no group has images of two targeted classes. Raises NotCertifiable with every target
    that cannot be; with covers="label" the first, on which the later ones rest.
    """
    test = holdout.part("test")

    def counted(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(test.labels, weights=shares, minlength=len(priors)).astype(np.float64)

    strata = Strata(priors, counted(test.shares))
    earlier: list[Flags] = []  # what the classes before this one take from it, where the label is certified
    certificates: list[Certificate] = []
    shortfalls: list[Shortfall] = []
    for target in targets:
        rows = holdout.one_a_group("tune", target.k, seed)
        lost = np.stack([flagged[rows] for flagged in earlier], axis=1) if earlier else np.zeros((len(rows), 0), bool)
        values = np.where(lost.any(axis=1), -np.inf, adjusted[rows, target.k])
        try:
            found = certify(values, recall=target.recall, confidence=confidence, joint=len(targets))
        except NotCertifiable as error:
            shortfalls.append(_named(error.faults[0], target, targets, lost))
            if covers == "label":
                break
            continue
        flagged = adjusted[:, target.k] >= found.threshold
        called = flagged & ~np.any(earlier, axis=0) if earlier else flagged
        hits = counted(test.shares * called[holdout.split == "test"])
        expected = precision(strata, hits[:, None], np.array([target.k])).at(0)
        certificates.append(replace(found, class_name=target.name, covers=covers, expected_precision=expected))
        if covers == "label":
            earlier.append(flagged)
    if shortfalls:
        raise NotCertifiable(*shortfalls)
    return certificates


def _named(shortfall: Shortfall, target: Target, targets: Sequence[Target], lost: Flags) -> Shortfall:
    """The same, said of a target of a policy document, with the class that takes most of its images."""
    detail = shortfall.detail.replace(" is not", f" of {target.name} is not", 1)
    if lost.any():
        thief = targets[int(lost.sum(axis=0).argmax())].name
        detail += f"; {thief}, which comes first, takes {int(lost.any(axis=1).sum())} of them"
    return replace(shortfall, pointer=pointer("rule", "targets", target.name), detail=detail)
