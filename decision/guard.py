"""The change-size guard: what speaks against putting a policy in force before somebody has looked twice."""

from decision.certificates import Certificate
from decision.policy import Policy
from decision.preview import Comparison

MOST_CHANGED = 0.2
"""Share of the holdout's labels, at the new policy's deployment priors, that may change unasked."""


def objections(found: Comparison, policy: Policy, against: Policy) -> tuple[str, ...]:
    """Why `policy` should not take the place of `against`, as its preview `found`; nothing where it may unasked.

    It would change more than MOST_CHANGED of the labels, or promise less than `against` certifies: no certificate for
    a class, a lower recall, less confidence, or the flag where the label was covered.
    """
    said = []
    if found.changed.value > MOST_CHANGED:
        said.append(f"{found.changed:.1%} of labels would change, more than {MOST_CHANGED:.0%}")
    now = {certificate.class_name: certificate for certificate in policy.certificates}
    for before in against.certificates:
        if lost := _lost(before, now.get(before.class_name)):
            said.append(f"{before.class_name}: {lost}")
    return tuple(said)


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
