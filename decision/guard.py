"""The change-size guard: what speaks against putting a policy in force before somebody has looked twice."""

from dataclasses import replace

from decision.certificates import Certificate
from decision.policy import Policy
from decision.preview import Comparison

MOST_CHANGED = 0.2
"""Share of labels that may change unasked, at the deployment priors of either policy."""


def objections(found: Comparison, policy: Policy, against: Policy) -> tuple[str, ...]:
    """Why `policy` should not take the place of `against`, as its preview `found`; nothing where it may unasked.

    It would change more than MOST_CHANGED of the labels (by its own priors or by those that it would replace: a wrong
    prior must not hide what it does), or rest on classes without a test image for as much; or promise less than
    `against` certifies: no certificate for a class, a lower recall, less confidence, or the flag where the label was
    covered, as it always is for the first in priority.
    """
    said = []
    most = max(found.changed, found.changed_before, key=lambda changed: changed.value)
    if most.value > MOST_CHANGED:
        said.append(f"{most:.1%} of labels would change, more than {MOST_CHANGED:.0%}")
    if found.unseen > MOST_CHANGED:
        said.append(f"{found.unseen:.1%} of the deployment priors are of classes without a test image")
    now = _promised(policy)
    for name, before in _promised(against).items():
        if lost := _lost(before, now.get(name)):
            said.append(f"{name}: {lost}")
    return tuple(said)


def _promised(policy: Policy) -> dict[str, Certificate]:
    """Certificates by class, in priority order; nothing takes the label from the first."""
    return {
        certificate.class_name: certificate if number else replace(certificate, covers="label")
        for number, certificate in enumerate(policy.certificates)
    }


def _lost(before: Certificate, now: Certificate | None) -> str | None:
    if now is None:
        return f"the certified recall of {before.recall:g} would be lost"
    if now.recall < before.recall:
        return f"the certified recall would drop from {before.recall:g} to {now.recall:g}"
    if now.confidence < before.confidence:
        return f"the confidence in recall {now.recall:g} would drop from {before.confidence:g} to {now.confidence:g}"
    if (before.covers, now.covers) == ("label", "flag"):
        return f"the certificate of recall {now.recall:g} would cover the flag alone, not the label"
    return None
