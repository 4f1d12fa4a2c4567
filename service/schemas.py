"""The public JSON: what /predict and /config answer."""

import os
import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from decision import Decisions, Policy, PolicyDocument, softmax
from decision.arrays import Logits
from service.policies import Enforced


class Explanation(BaseModel):
    """What an answer came from, per class."""

    calibrated: dict[str, float]
    adjusted: dict[str, float]
    thresholds: dict[str, float]
    ratios: dict[str, float]


class Answer(BaseModel):
    """One image's answer; `probabilities` are calibrated and adjusted to the deployment priors."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    label: str | None
    abstained: bool
    flags: list[str]
    probabilities: dict[str, float]
    policy_revision: int
    model: str
    explanation: Explanation | None = Field(default=None, exclude_if=lambda value: value is None)


class PolicyInForceDocument(BaseModel):
    """What GET /config answers."""

    revision: int
    policy: PolicyDocument
    thresholds: dict[str, float]
    certificates: list[dict[str, Any]]
    actor: str
    reason: str
    time: str | None
    dry_run: bool = Field(default=False, exclude_if=lambda value: not value)


def in_force(enforced: Enforced) -> PolicyInForceDocument:
    """The public form of a stored policy."""
    entry = enforced.entry
    return described(enforced.policy, entry.revision, entry.actor, entry.reason, entry.time)


def described(
    policy: Policy, revision: int, actor: str, reason: str, time: str | None, *, dry_run: bool = False
) -> PolicyInForceDocument:
    """The public form of a policy; of a dry run, with the revision that is in force and no time."""
    return PolicyInForceDocument(
        dry_run=dry_run,
        revision=revision, policy=policy.document, thresholds=policy.thresholds, certificates=[],
        actor=actor, reason=reason, time=time,
    )  # fmt: skip


def explanation(policy: Policy, logits: Logits, decisions: Decisions) -> Explanation:
    """How the first image's answer came about; `logits` are the calibrated ones."""
    adjusted = policy.by_class(decisions.probabilities[0])
    return Explanation(
        calibrated=policy.by_class(softmax(logits)[0]),
        adjusted=adjusted,
        thresholds=policy.thresholds,
        ratios={name: adjusted[name] / threshold for name, threshold in policy.thresholds.items()},
    )


def uuid7() -> str:
    """A UUID version 7 (RFC 9562): 48 bits of milliseconds, then random; ids sort by time."""
    bits = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
