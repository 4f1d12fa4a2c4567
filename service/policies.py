"""The policy in force: one immutable value that a worker swaps when the host's shared revision number moves."""

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from decision import Bundle, Policy, PolicyDocument, PolicyError
from service.carry import carried, restored
from service.database import StoreError
from service.host import HostPolicy
from service.kept import Kept
from service.store import Change, PolicyStore, Revision, StaleError

log = logging.getLogger("equipoise")

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Enforced:
    """A compiled policy and the stored revision it comes from."""

    policy: Policy
    entry: Revision

    @property
    def revision(self) -> int:
        return self.entry.revision


class PolicyInForce:
    """Reads and changes the policy of one model on this host.

    When `change` returns, the next request on every worker is decided by the new revision: each compares the shared
    word first, and reads what the host keeps where it has moved. The database is asked only by who changes the
    policy, by the host's follower, and by a worker that finds no kept file as new as the word.
    """

    def __init__(self, bundle: Bundle, store: PolicyStore, host: HostPolicy) -> None:
        self._bundle, self._store, self.host = bundle, store, host
        self._reloading = threading.Lock()
        self._failed_at = (-1, 0.0)  # the shared word that could not be followed, and when
        self._why_not = ""
        self._enforced = self._read()
        self._seen = self._enforced.revision
        self._caught_up = (self._seen, self._enforced.entry.time)  # of the database, as `catch_up` left it

    @property
    def fresh(self) -> bool:
        """Whether `current` has nothing to read."""
        return self.host.revision == self._seen

    def current(self) -> Enforced:
        """The policy this request is decided by; ask once a request."""
        if self.host.revision != self._seen:
            self._reload()
        return self._enforced

    def compile(self, document: PolicyDocument) -> Policy:
        """What a document would mean here. Raises PolicyError."""
        return self._bundle.policy(document)

    def change(self, expected: int, policy: Policy, change: Change) -> Enforced:
        """Store a change as revision `expected + 1` and put it in force. Raises StaleError, StoreError."""
        try:
            with self.host.changing() as publish:
                database = self._store.database.id
                entry = self._store.append(expected, change)
                publish(entry, database)
        except StaleError:
            self.catch_up()
            raise
        except StoreError:
            self.host.note_database_down()
            raise
        log.warning("policy revision %d by %s: %r", entry.revision, entry.actor, entry.reason)
        return Enforced(policy, entry)

    def catch_up(self) -> None:
        """Put in force what other hosts stored, or what a writer stored that was killed before it could.

        What this host has, should the database have lost it, is stored again; so is, once after a start that found no
        database, the last policy for this bundle version. Raises StoreError.
        """
        unsettled = self.host.unsettled
        if unsettled or self._store.newest() != self._caught_up or self.host.revision != self._caught_up[0]:
            with self.host.changing() as publish:
                bring = carried if unsettled else restored
                last = bring(self._store, self._bundle, self.host.kept())
                publish(last, self._store.database.id)
                self._caught_up = (last.revision, last.time)
            self.host.unsettled = False

    def acknowledge(self) -> None:
        """Tell other hosts which revision this one decides by. Raises StoreError."""
        self._store.acknowledge(self.host.id, self.current().revision)

    def behind(self, revision: int) -> list[str]:
        """The live hosts that decide by an older revision: none on a database of one host. Raises StoreError."""
        return self._store.behind(revision) if self._store.database.notifies else []

    def degraded(self) -> list[str]:
        """What an operator should know, in words; nothing where all is well."""
        said, down, entry = [], self.host.down_since, self.current().entry
        if down is not None:
            said.append(f"the policy store has not answered since {datetime.fromtimestamp(down, UTC):%FT%TZ}")
        if entry.event == "fallback":
            said.append(f"the bundle's default policy is in force: {entry.reason}")
        if (word := self.host.revision) != entry.revision:
            said.append(f"revision {word} cannot be in force here, {entry.revision} is: {self._why_not}")
        return said

    def _read(self) -> Enforced:
        kept = self.host.kept()
        entry = kept.entry if kept is not None and kept.entry.revision >= self.host.revision else self._store.last()
        if entry is None:  # and the disk took no file
            raise StoreError(f"no policy is stored for {self._bundle.manifest.name}")
        return Enforced(self._bundle.policy(entry.policy), entry)

    def _reload(self) -> None:
        with self._reloading:
            word = self.host.revision
            failed, when = self._failed_at
            if word == self._seen or (word == failed and time.monotonic() < when + RETRY_SECONDS):
                return
            try:
                # `seen` is the revision that was read, never the word's value: a later one is met next time.
                self._enforced = self._read()
                self._seen = self._enforced.revision
            except (StoreError, PolicyError) as error:
                if word != failed:
                    log.error("revision %d stays in force, %d cannot be: %s", self._seen, word, error)
                self._why_not = str(error)
            if self._seen != word:
                self._failed_at = (word, time.monotonic())


def first_in_force(bundle: Bundle, store: PolicyStore, host: HostPolicy) -> PolicyInForce:
    """Once a start, before any worker: have a policy for this bundle version stored, kept and in force.

    With the database down, the policy that this host kept goes on. Raises StoreError where it kept none.
    """
    with host.changing() as publish:
        kept = host.kept()
        try:
            kept = Kept(carried(store, bundle, kept), store.database.id)
            host.note_database_up()
        except StoreError as error:
            if kept is None or error.permanent:
                raise
            try:
                bundle.policy(kept.entry.policy)
            except PolicyError as impossible:
                raise StoreError(f"{error}; the policy kept here cannot be: {impossible}") from error
            log.error("the last known policy, revision %d, is in force: %s", kept.entry.revision, error)
            host.note_database_down()
        host.unsettled = host.down_since is not None
        publish(kept.entry, kept.database)
    return PolicyInForce(bundle, store, host)
