"""The guard: what it lets through and what it stops, at its boundaries."""

from dataclasses import replace

import pytest

from decision import Comparison, Interval, Policy, objections, preview
from decision.certificates import Certificate
from tests.decision.policies import RULES, bundle_of, held_out, policy_of


def with_certificates(*certificates: Certificate) -> Policy:
    return replace(policy_of(RULES[0], held_out()), certificates=certificates)


def changing(share: float) -> Comparison:
    holdout = held_out()
    found = preview(bundle_of(holdout), policy_of(RULES[0], holdout), against=policy_of(RULES[0], holdout)).comparison
    assert found is not None
    return replace(found, changed=Interval(share, 0.0, 1.0))


@pytest.mark.parametrize(("share", "stopped"), [(0.0, False), (0.2, False), (0.2001, True), (1.0, True)])
def test_a_fifth_of_the_labels_may_change(share: float, stopped: bool) -> None:
    plain = with_certificates()
    said = objections(changing(share), plain, plain)
    assert bool(said) == stopped
    if stopped:
        assert said[0].endswith("of labels would change, more than 20%")


CERTIFICATE = Certificate(0.1, 3, 100, 0.9, 0.95, "rare")


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ((CERTIFICATE,), None),
        ((replace(CERTIFICATE, recall=0.95, confidence=0.99, covers="label"),), None),
        ((CERTIFICATE, replace(CERTIFICATE, class_name="other")), None),
        ((), "rare: the certified recall of 0.9 would be lost"),
        ((replace(CERTIFICATE, class_name="other"),), "rare: the certified recall of 0.9 would be lost"),
        ((replace(CERTIFICATE, recall=0.85),), "rare: the certified recall would drop from 0.9 to 0.85"),
        ((replace(CERTIFICATE, confidence=0.9),), "rare: the confidence in recall 0.9 would drop from 0.95 to 0.9"),
    ],
)
def test_no_certified_recall_may_drop(now: tuple[Certificate, ...], message: str | None) -> None:
    said = objections(changing(0.0), with_certificates(*now), with_certificates(CERTIFICATE))
    assert said == (() if message is None else (message,))


def test_the_label_that_was_covered_stays_covered() -> None:
    before, now = with_certificates(replace(CERTIFICATE, covers="label")), with_certificates(CERTIFICATE)
    assert objections(changing(0.0), before, now) == ()
    assert objections(changing(0.0), now, before) == (
        "rare: the certificate of recall 0.9 would cover the flag alone, not the label",
    )
