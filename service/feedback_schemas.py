"""The public JSON of feedback: labels that come in, ids to be labelled, and the quality that was observed."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from decision.audit import Design
from service.labels import Result
from service.limits import MOST_LABELS
from service.schemas import IntervalDocument


class LabelDocument(BaseModel):
    """What an earlier answer truly was; `replace` corrects a label that is there, `source` is kept."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(max_length=100)]
    label: str
    replace: bool = False
    source: Annotated[str, Field(max_length=100)] = ""


class LabelsDocument(BaseModel):
    """Many of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    items: Annotated[list[LabelDocument], Field(min_length=1, max_length=MOST_LABELS)]


class ResultDocument(BaseModel):
    """What became of one label."""

    id: str
    result: Result
    detail: str | None = Field(default=None, exclude_if=lambda value: value is None)


class ResultsDocument(BaseModel):
    """What became of each label, in the order of the request."""

    results: list[ResultDocument]


class ToLabelDocument(BaseModel):
    """An answer to be labelled, without what was decided; `pending`: handed out before, and not labelled yet."""

    id: str
    time: str
    pending: bool


class SampleDocument(BaseModel):
    """Ids to be labelled, `new` of them for the first time, drawn from `answers` answers given `from` … `to`."""

    n: int
    design: Design
    window: str
    from_: str = Field(alias="from")
    to: str
    answers: int
    new: int
    ids: list[ToLabelDocument]


class EstimateDocument(IntervalDocument):
    """A share with its 95% interval, from n labels that stand for n_eff independent ones drawn at random."""

    n: int
    n_eff: float


class ReviewDocument(BaseModel):
    """Labels of this class outside of audits: how many, and how many of them were flagged and labelled so."""

    labels: int
    flagged: int
    labelled: int


class ClassQualityDocument(BaseModel):
    """Of one class; null where no label of an audit says anything. `target` is the recall promised with the answers."""

    target: float | None
    flag_recall: EstimateDocument | None
    flag_precision: EstimateDocument | None
    label_recall: EstimateDocument | None
    label_precision: EstimateDocument | None
    review: ReviewDocument


class AuditDocument(BaseModel):
    """Of what was drawn: how many ids, how many answers they stand for, how many are labelled, and which share."""

    drawn: int
    represents: float
    labelled: int
    completeness: float | None


class CalibrationDocument(BaseModel):
    """Expected calibration error of the largest adjusted probability, ten bins, from an audit's n labels."""

    error: float
    n: int
    n_eff: float


class DelayDocument(BaseModel):
    """Seconds from an answer to its first label, over n labels."""

    n: int
    median: float
    p90: float


class CohortDocument(BaseModel):
    """Answers given in a window, or those of a day or of a revision in it."""

    cohort: str
    audit: AuditDocument
    reviewed: int
    calibration: CalibrationDocument | None
    delay: DelayDocument | None
    classes: dict[str, ClassQualityDocument]


class QualityDocument(BaseModel):
    """Observed quality by the time of the answers, under the labels that are known now."""

    model: str
    window: str
    from_: str = Field(alias="from")
    to: str
    policy_revision: int
    cohorts: list[CohortDocument]
