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


OTHER = replace(CERTIFICATE, class_name="other")


def test_the_label_that_was_covered_stays_covered() -> None:
    before = with_certificates(OTHER, replace(CERTIFICATE, covers="label"))
    now = with_certificates(OTHER, CERTIFICATE)
    assert objections(changing(0.0), before, now) == ()
    assert objections(changing(0.0), now, before) == (
        "rare: the certificate of recall 0.9 would cover the flag alone, not the label",
    )


def test_the_first_in_priority_has_its_label_covered() -> None:
    before, now = with_certificates(CERTIFICATE, OTHER), with_certificates(OTHER, CERTIFICATE)
    assert objections(changing(0.0), before, before) == ()
    assert objections(changing(0.0), now, before) == (
        "rare: the certificate of recall 0.9 would cover the flag alone, not the label",
    )


def test_a_wrong_prior_does_not_hide_what_changes() -> None:
    holdout = held_out()
    typo = {"a": 1 - 3e-6, "b": 1e-6, "c": 1e-6, "d": 1e-6}
    policy, against = policy_of(RULES[0], holdout, deployment_priors=typo), policy_of(RULES[0], holdout)
    found = preview(bundle_of(holdout), policy, against=against).comparison
    assert found is not None
    assert found.changed.value < found.changed_before.value
    assert found.changed_before.value > 0.2
    (said,) = objections(found, policy, against)
    assert said.startswith(f"{found.changed_before.value:.1%} ")
    back = preview(bundle_of(holdout), against, against=policy).comparison
    assert back is not None
    assert back.changed.value == found.changed_before.value


def test_classes_without_a_test_image_cannot_speak() -> None:
    holdout = held_out(sizes=(200, 150, 100, 60))
    test_d = (holdout.labels == 3) & (holdout.split == "test")
    kept = type(holdout)(*(getattr(holdout, name)[~test_d] for name in ("logits", "labels", "split", "groups")))
    plain = policy_of(RULES[0], kept)
    for prior, stopped in ((0.1, False), (0.3, True)):
        rest = (1 - prior) / 3
        policy = policy_of(RULES[0], kept, deployment_priors={"a": rest, "b": rest, "c": rest, "d": prior})
        found = preview(bundle_of(kept), policy, against=plain).comparison
        assert found is not None
        assert found.unseen == pytest.approx(prior)
        said = objections(replace(found, changed=Interval(0, 0, 0), changed_before=Interval(0, 0, 0)), policy, plain)
        assert bool(said) == stopped
