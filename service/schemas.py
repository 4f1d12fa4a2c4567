"""The public JSON: what /predict and /config answer."""

import os
import time
from dataclasses import asdict
from math import isnan
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from decision import Bundle, Certificate, Decisions, Interval, Policy, PolicyDocument, softmax
from decision.arrays import Logits
from decision.certificates import Covers
from service.answer_schema import Answer, Explanation
from service.limits import LARGEST_REVISION
from service.store import Change, Event, Revision


class ProblemDocument(BaseModel):
    """A problem in place of an answer, as RFC 9457 has it."""

    problem: dict[str, Any]


class BatchDocument(BaseModel):
    """Answers in the order of the images."""

    answers: list[Answer | ProblemDocument]


class IntervalDocument(BaseModel):
    """A value with its 95% interval; null where nothing was there to measure it on."""

    value: float | None
    low: float
    high: float


class CertificateDocument(BaseModel):
    """The proof that goes with a threshold tuned for recall, and the same in words."""

    class_name: str
    recall: float
    confidence: float
    joint: int
    covers: Covers
    n: int
    rank: int
    threshold: float
    expected_precision: IntervalDocument
    statement: str


class PolicyInForceDocument(BaseModel):
    """What GET /config answers."""

    revision: int
    policy: PolicyDocument
    thresholds: dict[str, float]
    certificates: list[CertificateDocument]
    actor: str
    reason: str
    time: str
    event: Event


class Rollback(BaseModel):
    """The body of POST /config/rollback."""

    model_config = ConfigDict(extra="forbid", strict=True)

    revision: int = Field(ge=1, le=LARGEST_REVISION)


class RevisionDocument(BaseModel):
    """A revision as history has it: as it was compiled then, and with what its preview said (null where none was)."""

    revision: int
    time: str
    actor: str
    reason: str
    event: Event
    model_version: str
    policy: dict[str, Any]
    thresholds: dict[str, float]
    certificates: list[dict[str, Any]]
    preview: dict[str, Any] | None


class HistoryDocument(BaseModel):
    """Revisions, newest first; `next` is where to ask for older ones."""

    revisions: list[RevisionDocument]
    next: str | None


def in_force(policy: Policy, entry: Revision) -> PolicyInForceDocument:
    """The public form of a stored policy."""
    return PolicyInForceDocument(
        revision=entry.revision, policy=policy.document, thresholds=policy.thresholds,
        certificates=[certified(certificate) for certificate in policy.certificates],
        actor=entry.actor, reason=entry.reason, time=entry.time, event=entry.event,
    )  # fmt: skip


def change_of(
    bundle: Bundle, policy: Policy, actor: str, reason: str, event: Event, preview: dict[str, Any] | None = None
) -> Change:
    """What is stored of a compiled policy."""
    return Change(
        actor=actor, reason=reason, event=event, model_version=bundle.manifest.version,
        policy=policy.document.model_dump(mode="json"), thresholds=policy.thresholds,
        certificates=[certified(certificate).model_dump(mode="json") for certificate in policy.certificates],
        preview=preview,
    )  # fmt: skip


def interval(found: Interval) -> IntervalDocument:
    """NaN is null."""
    return IntervalDocument.model_validate(asdict(found) | {"value": None if isnan(found.value) else found.value})


def certified(certificate: Certificate) -> CertificateDocument:
    """The public form of a certificate."""
    return CertificateDocument.model_validate(asdict(certificate) | {"statement": str(certificate)})


def explanation(policy: Policy, logits: Logits, decisions: Decisions, i: int) -> Explanation:
    """How one image's answer came about; `logits` are the calibrated ones."""
    adjusted = policy.by_class(decisions.probabilities[i])
    return Explanation(
        calibrated=policy.by_class(softmax(logits[i : i + 1])[0]),
        adjusted=adjusted,
        thresholds=policy.thresholds,
        ratios={name: adjusted[name] / threshold for name, threshold in policy.thresholds.items() if threshold > 0},
    )


def uuid7() -> str:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random; ids sort by time."""
    bits = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
