"""The public JSON of one answer: all that BentoML's arbiter needs to know of what is served."""

from pydantic import BaseModel, Field


class Explanation(BaseModel):
    """What an answer came from, per class. A threshold of 0 flags every image, and has no ratio."""

    calibrated: dict[str, float]
    adjusted: dict[str, float]
    thresholds: dict[str, float]
    ratios: dict[str, float]


class Answer(BaseModel):
    """One image's answer; `probabilities` are calibrated and adjusted to the deployment priors."""

    id: str
    label: str | None
    abstained: bool
    flags: list[str]
    probabilities: dict[str, float]
    policy_revision: int
    model: str
    explanation: Explanation | None = Field(default=None, exclude_if=lambda value: value is None)
