"""The policy that a start finds, brought to the bundle that it serves; nothing of it is ever lost silently."""

import logging

from decision import Bundle, Policy, PolicyError
from service.schemas import certified
from service.store import Change, Event, PolicyStore, Revision, StaleError

log = logging.getLogger("equipoise")

SYSTEM = "system"


def settled(store: PolicyStore, bundle: Bundle, kept: Revision | None, *, carry: bool = True) -> Revision:
    """The last revision, made sure to be one for this bundle version (unless `carry` is off).

    Under another version the last document is compiled again and stored as a new revision; where that cannot be, the
    bundle's default policy takes force, and the reason says why. A database that lacks the revision this host `kept`
    (a new file, an old backup) gets it again, under a number that nobody has seen.
    """
    while True:
        try:
            return _settled(store, bundle, kept, carry=carry)
        except StaleError:  # another host was first: look again
            continue


def _settled(store: PolicyStore, bundle: Bundle, kept: Revision | None, *, carry: bool) -> Revision:
    last = store.last()
    if kept is not None and (last is None or last.revision < kept.revision):
        found = "no revision" if last is None else f"revision {last.revision}"
        why = f"the database had {found}; revision {kept.revision}, kept by this host"
        return _again(store, bundle, kept, last, why)
    if last is None:
        return _store(store, bundle, None, bundle.policy(), "first", f"default policy of {bundle.id}")
    if carry and last.model_version != bundle.manifest.version:
        return _again(store, bundle, last, last, f"revision {last.revision}")
    return last


def _again(store: PolicyStore, bundle: Bundle, entry: Revision, last: Revision | None, what: str) -> Revision:
    try:
        policy, reason = bundle.policy(entry.policy), f"{what}, compiled for {bundle.id}"
        if policy.document != bundle.manifest.policy:
            reason += ", whose own default policy is another"
            log.warning("policy: %s", reason)
        return _store(store, bundle, last, policy, "carried", reason, number=entry.revision + 1)
    except PolicyError as error:
        reason = f"default of {bundle.id}; {what} cannot be: {error}"
        log.error("policy: %s", reason)
        return _store(store, bundle, last, bundle.policy(), "fallback", reason, number=entry.revision + 1)


def _store(
    store: PolicyStore, bundle: Bundle, last: Revision | None, policy: Policy, event: Event, reason: str,
    number: int = 1,
) -> Revision:  # fmt: skip
    return store.append(0 if last is None else last.revision, change_of(bundle, policy, SYSTEM, reason, event), number)


def change_of(bundle: Bundle, policy: Policy, actor: str, reason: str, event: Event) -> Change:
    """What is stored of a compiled policy."""
    return Change(
        actor=actor, reason=reason, event=event, model_version=bundle.manifest.version,
        policy=policy.document.model_dump(mode="json"), thresholds=policy.thresholds,
        certificates=[certified(certificate).model_dump(mode="json") for certificate in policy.certificates],
    )  # fmt: skip
