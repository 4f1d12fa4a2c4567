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
        self._enforced = self._read()
        self._seen = self._enforced.revision

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
                entry = self._store.append(expected, change)
                publish(entry)
        except StaleError:
            self.catch_up()
            raise
        except StoreError:
            self.host.note_database_down()
            raise
        log.warning("policy revision %d by %s: %r", entry.revision, entry.actor, entry.reason)
        return Enforced(policy, entry)

    def catch_up(self) -> int:
        """Put in force what other hosts stored, or what a writer stored that was killed before it could.

        What is in force, should the database have lost it, is stored again. Returns the revision that is in force on
        this host now. Raises StoreError.
        """
        last = self._store.last()
        if last is None or last.revision != self.host.revision:
            with self.host.changing() as publish:
                last = restored(self._store, self._bundle, self.host.kept())
                publish(last)
        return last.revision

    def settle(self) -> None:
        """`catch_up` of a start that found no database: this bundle's version is stored too."""
        with self.host.changing() as publish:
            publish(carried(self._store, self._bundle, restored(self._store, self._bundle, self.host.kept())))

    def acknowledge(self) -> int:
        """Tell the hosts that share the database which revision this one decides by. Raises StoreError."""
        revision = self.host.revision
        if self._store.database.notifies:
            self._store.acknowledge(self.host.id, revision)
        return revision

    def behind(self, revision: int) -> list[str]:
        """The live hosts that have not acknowledged `revision`: none on a database of one host. Raises StoreError."""
        return self._store.behind(revision) if self._store.database.notifies else []

    def degraded(self) -> list[str]:
        """What an operator should know, in words; nothing where all is well."""
        said, down, entry = [], self.host.down_since, self.current().entry
        if down is not None:
            said.append(f"the policy store has not answered since {datetime.fromtimestamp(down, UTC):%FT%TZ}")
        if entry.event == "fallback":
            said.append(f"the bundle's default policy is in force: {entry.reason}")
        return said

    def _read(self) -> Enforced:
        entry = self.host.kept()
        if entry is None or entry.revision < self.host.revision:  # the disk took no file
            entry = self._store.last()
        if entry is None:
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
            except (StoreError, PolicyError):
                log.exception("revision %d stays in force: a newer one could not be read", self._seen)
            if self._seen != word:
                self._failed_at = (word, time.monotonic())


def first_in_force(bundle: Bundle, store: PolicyStore, host: HostPolicy) -> PolicyInForce:
    """Once a start, before any worker: have a policy for this bundle version stored, kept and in force.

    With the database down, the policy that this host kept goes on. Raises StoreError where it kept none.
    """
    with host.changing() as publish:
        try:
            entry = carried(store, bundle, restored(store, bundle, host.kept()))
            host.note_database_up()
        except StoreError as error:
            kept = host.kept()
            if kept is None or error.permanent:
                raise
            try:
                bundle.policy(kept.policy)
            except PolicyError as impossible:
                raise StoreError(f"{error}; the policy kept here cannot be: {impossible}") from error
            log.error("the last known policy, revision %d, is in force: %s", kept.revision, error)
            entry = kept
            host.note_database_down()
        publish(entry)
    return PolicyInForce(bundle, store, host)
