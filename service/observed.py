"""Observed quality by cohort of prediction time, exact from the store: the public form of what the sums say."""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision import Bundle
from decision.outcomes import Outcomes
from decision.quality import CohortSums
from decision.weighted import ClassFigures
from service import ids
from service.feedback_schemas import (
    AuditDocument,
    CalibrationDocument,
    ClassQualityDocument,
    CohortDocument,
    DelayDocument,
    EstimateDocument,
    ReviewDocument,
)  # fmt: skip
from service.outcomes import Found, OutcomeReader

Split = Literal["revision", "day"]
DAY = 24 * 3600 * 1000


@dataclass
class _Cohort:
    """What is summed of one cohort while its parts are read."""

    sums: CohortSums | None = None
    targeted: NDArray[np.float64] | float = 0.0
    promised: NDArray[np.float64] | float = 0.0
    delays: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def targets(self) -> NDArray[np.float64]:
        """The mean recall that answers promised `(K,)`, of those that did; NaN where none did."""
        targeted = np.asarray(self.targeted, dtype=np.float64)
        targets: NDArray[np.float64] = np.full(targeted.shape, np.nan)
        np.divide(self.promised, targeted, out=targets, where=targeted > 0)
        return targets

    def add(self, outcomes: Outcomes, delays: NDArray[np.float64]) -> None:
        part = CohortSums.of(outcomes)
        self.sums = part if self.sums is None else self.sums + part
        self.targeted = self.targeted + (outcomes.targets > 0).sum(axis=0)
        self.promised = self.promised + outcomes.targets.sum(axis=0)
        self.delays.append(delays[~np.isnan(delays)])


class Observed:
    """Reads the observed quality of one bundle version. Raises StoreError."""

    def __init__(self, bundle: Bundle, outcomes: OutcomeReader) -> None:
        self._classes, self._outcomes = bundle.classes, outcomes

    def cohorts(self, seconds: float, split: Split | None) -> list[CohortDocument]:
        """Of the answers of the last so many seconds, whole or split, the newest cohort first."""
        now = time.time()
        found: dict[int, _Cohort] = defaultdict(_Cohort)
        if split is None:
            found[0].add(_nothing(len(self._classes)), np.empty(0))
        for part in self._outcomes.between(ids.first_at(now - seconds), ids.first_at(now + 3600)):
            keys = _keys(part, split)
            for key in np.unique(keys).tolist():
                one = keys == key
                found[key].add(_where(part.outcomes, one), part.delays[one])
        return [self._document(_name(key, split), cohort) for key, cohort in sorted(found.items(), reverse=True)]

    def _document(self, name: str, cohort: _Cohort) -> CohortDocument:
        sums, delays = cohort.sums, np.concatenate(cohort.delays)
        assert sums is not None
        bins, error = sums.bins, sums.bins.error()
        return CohortDocument(
            cohort=name,
            audit=AuditDocument(drawn=sums.drawn, represents=sums.represents, labelled=sums.known,
                                completeness=sums.known / sums.drawn if sums.drawn else None),
            reviewed=sums.reviewed,
            calibration=None if error is None else CalibrationDocument(error=error, n=bins.n, n_eff=bins.n_eff),
            delay=_delay(delays) if len(delays) else None,
            classes=self._by_class(sums, cohort.targets.tolist()),
        )  # fmt: skip

    def _by_class(self, sums: CohortSums, targets: list[float]) -> dict[str, ClassQualityDocument]:
        figures = {
            "flag_recall": sums.flags.recall(), "flag_precision": sums.flags.precision(),
            "label_recall": sums.labels.recall(), "label_precision": sums.labels.precision(),
        }  # fmt: skip
        reviews = np.stack([sums.reviews.n, sums.reviews.flagged, sums.reviews.labelled], axis=1).tolist()
        return {
            name: ClassQualityDocument(
                target=None if np.isnan(targets[k]) else targets[k],
                review=ReviewDocument(labels=reviews[k][0], flagged=reviews[k][1], labelled=reviews[k][2]),
                **{figure: _estimate(estimates, k) for figure, estimates in figures.items()},
            )
            for k, name in enumerate(self._classes)
        }  # fmt: skip


def _keys(part: Found, split: Split | None) -> NDArray[np.int64]:
    """The cohort of each answer `(n,)`."""
    match split:
        case "revision":
            return part.revisions
        case "day":
            return part.times // DAY
    return np.zeros(len(part.times), dtype=np.int64)


def _name(key: int, split: Split | None) -> str:
    match split:
        case "revision":
            return str(key)
        case "day":
            return f"{datetime.fromtimestamp(key * DAY / 1000, UTC):%F}"
    return "all"


def _where(outcomes: Outcomes, some: NDArray[np.bool_]) -> Outcomes:
    return Outcomes(**{name: values[some] for name, values in vars(outcomes).items()})


def _nothing(classes: int) -> Outcomes:
    none, nobody, nothing = np.empty(0, np.int64), np.empty((0, classes), np.bool_), np.empty(0)
    return Outcomes(
        labels=none, flags=nobody, can_flag=nobody, targets=np.empty((0, classes)), top=none, confidence=nothing,
        weights=nothing, known=np.empty(0, np.bool_), truth=none,
    )  # fmt: skip


def _estimate(found: ClassFigures, k: int) -> EstimateDocument | None:
    """Null where there is none: no data is never 0."""
    value = found.intervals.at(k)
    if np.isnan(value.value):
        return None
    return EstimateDocument(**asdict(value), n=int(found.n[k]), n_eff=float(found.n_eff[k]))


def _delay(seconds: NDArray[np.float64]) -> DelayDocument:
    median, p90 = np.quantile(seconds, (0.5, 0.9)).tolist()
    return DelayDocument(n=len(seconds), median=median, p90=p90)
