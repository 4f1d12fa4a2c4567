"""The last policy, brought to this database and to this bundle; nothing of it is ever lost silently."""

import logging
from collections.abc import Callable

from decision import Bundle, Policy, PolicyError
from service.database import StoreError
from service.kept import Kept
from service.schemas import change_of
from service.store import Event, PolicyStore, Revision, StaleError

log = logging.getLogger("equipoise")

SYSTEM = "system"
MOST_TRIES = 10


def restored(store: PolicyStore, bundle: Bundle, kept: Kept | None) -> Revision:
    """The last revision of the database. What this host `kept`, where the database has lost it, is stored again.

    A database with no revision (a new file) gets what was kept; one that went back (an old backup) gets the later of
    the two, under a number that nobody has seen. Another database, or one that was written to since, is right.
    """
    return _tried(lambda: _restored(store, bundle, kept))


def carried(store: PolicyStore, bundle: Bundle, kept: Kept | None) -> Revision:
    """`restored`, and made sure to be for this bundle version.

    Under another version the last document is compiled again and stored as a new revision; where that cannot be, the
    bundle's default policy takes force, the reason says why, and the next version tries the document again.
    """
    return _tried(lambda: _carried(store, bundle, _restored(store, bundle, kept)))


def _restored(store: PolicyStore, bundle: Bundle, kept: Kept | None) -> Revision:
    last = store.last()
    if kept is None:
        return last or _appended(store, bundle, 0, bundle.policy(), "first", f"default policy of {bundle.id}")
    ours = kept.entry
    if last is None:
        return _compiled(store, bundle, 0, ours, f"the database had no revision; revision {ours.revision}, kept here")
    if kept.database == store.database.id and not _leads_to(last, ours):
        later = ours if ours.time > last.time else last
        what = f"the database went back from revision {ours.revision} to {last.revision}; revision {later.revision}"
        what += f" of {later.time}, by {later.actor}"
        return _compiled(store, bundle, last.revision, later, what, number=ours.revision + 1)
    return last


def _leads_to(last: Revision, ours: Revision) -> bool:
    """Whether a database whose last revision this is may have had ours before."""
    same = (last.time, last.policy) == (ours.time, ours.policy)
    return last.revision > ours.revision or (last.revision == ours.revision and same)


def _carried(store: PolicyStore, bundle: Bundle, last: Revision) -> Revision:
    if last.model_version == bundle.manifest.version:
        return last
    chosen = (store.chosen() if last.event == "fallback" else None) or last
    return _compiled(store, bundle, last.revision, chosen, f"revision {chosen.revision}")


def _compiled(
    store: PolicyStore, bundle: Bundle, expected: int, entry: Revision, what: str, *, number: int | None = None
) -> Revision:  # fmt: skip
    number = entry.revision + 1 if expected == 0 else number
    try:
        policy, reason = bundle.policy(entry.policy), f"{what}, compiled for {bundle.id}"
    except PolicyError as error:
        reason = f"default of {bundle.id}; {what} cannot be: {error}"
        log.error("policy: %s", reason)
        return _appended(store, bundle, expected, bundle.policy(), "fallback", reason, number)
    if policy.document != bundle.manifest.policy:
        reason += ", whose own default policy is another"
        log.warning("policy: %s", reason)
    return _appended(store, bundle, expected, policy, "carried", reason, number)


def _appended(
    store: PolicyStore, bundle: Bundle, expected: int, policy: Policy, event: Event, reason: str,
    number: int | None = None,
) -> Revision:  # fmt: skip
    return store.append(expected, change_of(bundle, policy, SYSTEM, reason, event), number)


def _tried(settle: Callable[[], Revision]) -> Revision:
    for _ in range(MOST_TRIES):
        try:
            return settle()
        except StaleError:  # another host was first: look again
            continue
    raise StoreError(f"other hosts changed the policy {MOST_TRIES} times in the meantime")
