"""The last policy, brought to what this host kept and to the bundle that it serves; nothing is lost silently."""

import logging

from decision import Bundle, Policy, PolicyError
from service.schemas import change_of
from service.store import Event, PolicyStore, Revision, StaleError

log = logging.getLogger("equipoise")

SYSTEM = "system"


def restored(store: PolicyStore, bundle: Bundle, kept: Revision | None) -> Revision:
    """The last revision, stored again under a number that nobody has seen if the database lacks what this host `kept`.

    It does where it is a new file, or an old backup. Without any revision the bundle's default policy is the first.
    """
    while True:
        last = store.last()
        try:
            if kept is not None and (last is None or last.revision < kept.revision):
                found = "no revision" if last is None else f"revision {last.revision}"
                what = f"the database had {found}; revision {kept.revision}, kept by this host"
                return _recompiled(store, bundle, kept, last, what)
            return last or _appended(store, bundle, None, bundle.policy(), "first", f"default policy of {bundle.id}")
        except StaleError:  # another host was first: look again
            continue


def carried(store: PolicyStore, bundle: Bundle, last: Revision) -> Revision:
    """The last revision, compiled again and stored as a new one if it was for another version of the bundle.

    Where that cannot be, the bundle's default policy takes force, and the reason says why.
    """
    while last.model_version != bundle.manifest.version:
        try:
            return _recompiled(store, bundle, last, last, f"revision {last.revision}")
        except StaleError:  # another host was first: look again
            last = restored(store, bundle, last)
    return last


def _recompiled(store: PolicyStore, bundle: Bundle, entry: Revision, last: Revision | None, what: str) -> Revision:
    try:
        policy, reason = bundle.policy(entry.policy), f"{what}, compiled for {bundle.id}"
        if policy.document != bundle.manifest.policy:
            reason += ", whose own default policy is another"
            log.warning("policy: %s", reason)
        return _appended(store, bundle, last, policy, "carried", reason, number=entry.revision + 1)
    except PolicyError as error:
        reason = f"default of {bundle.id}; {what} cannot be: {error}"
        log.error("policy: %s", reason)
        return _appended(store, bundle, last, bundle.policy(), "fallback", reason, number=entry.revision + 1)


def _appended(
    store: PolicyStore, bundle: Bundle, last: Revision | None, policy: Policy, event: Event, reason: str,
    number: int = 1,
) -> Revision:  # fmt: skip
    return store.append(0 if last is None else last.revision, change_of(bundle, policy, SYSTEM, reason, event), number)
