"""What a request asks, and how it is told: one image as JSON, or images that are answered together as tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson

from decision import Decisions, ImageError, Policy
from decision.arrays import Logits
from decision.images import Images, Pixels
from service.schemas import explanation

Said = TypeVar("Said", covariant=True)


class Decided(NamedTuple):
    """A batch of n answers under one policy: ids and calibrated logits `(n, K)` beside its decisions."""

    ids: Sequence[str]
    policy: Policy
    revision: int
    model: str
    logits: Logits
    decisions: Decisions


class Asked(Protocol[Said]):
    """Images of one request, all answered or none."""

    @property
    def n(self) -> int:
        """How many images: 1 or more."""

    @property
    def encoded(self) -> Sequence[bytes]:
        """Those that have to be decoded."""

    def images(self, decoded: Iterator[Pixels | ImageError]) -> Images:
        """All pixels; takes what became of each of `encoded`. Raises ImageError."""

    def said(self, decided: Decided, first: int) -> Said:
        """The answer, from n rows of a batch."""


@dataclass(frozen=True, slots=True)
class OneImage:
    """One encoded image; its answer is JSON, explained or not."""

    image: bytes
    explain: bool = False

    @property
    def n(self) -> int:
        return 1

    @property
    def encoded(self) -> Sequence[bytes]:
        return (self.image,)

    def images(self, decoded: Iterator[Pixels | ImageError]) -> Images:
        pixels = next(decoded)
        if isinstance(pixels, ImageError):
            raise pixels
        return pixels[None]

    def said(self, decided: Decided, first: int) -> bytes:
        i, policy, decisions = first, decided.policy, decided.decisions
        label, flags = int(decisions.labels[i]), decisions.flags[i]
        answer: dict[str, Any] = {
            "id": decided.ids[i], "label": policy.label(label), "abstained": label < 0,
            "flags": policy.named(flags) if policy.can_flag and flags.any() else [],
            "probabilities": dict(zip(policy.classes, decisions.probabilities[i].tolist(), strict=True)),
            "policy_revision": decided.revision, "model": decided.model,
        }  # fmt: skip
        if self.explain:
            answer["explanation"] = explanation(policy, decided.logits, decisions, i).model_dump()
        return orjson.dumps(answer)
