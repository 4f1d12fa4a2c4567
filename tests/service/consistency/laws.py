"""What must hold of every change and every answer: what writers and readers note, and the laws that it is held to."""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import onnxruntime

from decision import Bundle, parse_policy, read_image
from tests.conftest import noise, png

IMAGES = [png(noise(seed)) for seed in range(40)]


@dataclass(frozen=True)
class Seen:
    """One answer: which image, between when and when, and what came. Times are of CLOCK_MONOTONIC, one for all."""

    image: int
    begun: float
    ended: float
    answer: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """One change that was answered 200, and by whom: the reason names it."""

    revision: int
    begun: float
    ended: float
    reason: str
    document: dict[str, Any]


def history(url: str) -> list[dict[str, Any]]:
    """Every revision, oldest first."""
    found, page = [], "/config/history?limit=100"
    with httpx.Client(base_url=url, timeout=30) as client:
        while page:
            answer = client.get(page).json()
            found += answer["revisions"]
            page = answer["next"]
    return found[::-1]


def check_writes(written: list[Written], stored: list[dict[str, Any]]) -> None:
    """No lost update: numbers without a gap, each answered change there as it was sent, under its own number."""
    assert [entry["revision"] for entry in stored] == list(range(1, len(stored) + 1))
    assert len({w.revision for w in written}) == len(written)
    for one in written:
        entry = stored[one.revision - 1]
        assert (entry["reason"], entry["actor"]) == (one.reason, "admin")
        assert entry["policy"] == parse_policy(one.document).model_dump(mode="json")


def check_answers(bundle: Bundle, seen: list[Seen], written: list[Written], stored: list[dict[str, Any]]) -> None:
    """Each answer decided again, offline, under the revision that it names; which was in force while it was asked."""
    session = onnxruntime.InferenceSession(bundle.network, providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": read_image(data, bundle.input)[None]})[0] for data in IMAGES]
    policies = {entry["revision"]: bundle.policy(entry["policy"]) for entry in stored}
    decided: dict[tuple[int, int], tuple[Any, ...]] = {}
    returned = sorted((w.ended, w.revision) for w in written)
    newest = np.maximum.accumulate([revision for _, revision in returned]).tolist()
    sent = {w.revision: w.begun for w in written}
    for one in seen:
        revision = one.answer["policy_revision"]
        key = (revision, one.image)
        if key not in decided:
            policy = policies[revision]
            found = policy.decide(logits[one.image])
            decided[key] = (policy.label(found.labels[0]), policy.named(found.flags[0]),
                            policy.by_class(found.probabilities[0]))  # fmt: skip
        came = (one.answer["label"], one.answer["flags"], one.answer["probabilities"])
        assert came == decided[key], f"{came} is not {decided[key]} under revision {revision}"
        place = bisect_left(returned, (one.begun, 0)) - 1
        assert place < 0 or revision >= newest[place], (
            f"asked after {newest[place]} had returned, answered by {revision}"
        )
        assert sent.get(revision, 0.0) <= one.ended, f"revision {revision} before it was sent"
