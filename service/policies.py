"""The policy in force: one immutable value a worker swaps when the host's shared revision number moves."""

import logging
import threading
import time
from dataclasses import dataclass

from decision import Bundle, Policy, PolicyDocument, PolicyError
from service.shared import SharedWord
from service.store import PolicyStore, Revision, StaleError, StoreError

log = logging.getLogger("equipoise")

SYSTEM = "system"
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

    When `change` returns, the next request on every worker is decided by the new revision: each compares
    the shared word first, and reads the store where it has moved. With the store down, the last known
    policy stays in force and the store is asked again once a second.
    """

    def __init__(self, bundle: Bundle, store: PolicyStore, shared: SharedWord) -> None:
        self._bundle, self._store, self._shared = bundle, store, shared
        self._reloading = threading.Lock()
        self._failed_at = (-1, 0.0)  # the shared word that could not be followed, and when
        entry = self._publish_last()
        self._enforced = Enforced(bundle.policy(entry.policy), entry)
        self._seen = entry.revision

    @classmethod
    def prepare(cls, bundle: Bundle, store: PolicyStore, shared: SharedWord) -> "PolicyInForce":
        """Once a start, before any worker: make sure that a policy for this bundle version is stored and shared.

        Under another bundle version the last document is compiled again and stored as a new revision; where
        that cannot be, the bundle's default policy takes force, and the reason says why.
        """
        with shared.changing() as word:
            last = store.last()
            if last is None:
                last = _append(store, bundle, 0, SYSTEM, f"default policy of {bundle.id}", bundle.policy())
            elif last.model_version != bundle.manifest.version:
                last = _carry_over(store, bundle, last)
            word[0] = last.revision
        return cls(bundle, store, shared)

    def current(self) -> Enforced:
        """The policy this request is decided by; ask once a request."""
        if self._shared.value != self._seen:
            self._reload()
        return self._enforced

    def compile(self, document: PolicyDocument) -> Policy:
        """What a document would mean here. Raises PolicyError."""
        return self._bundle.policy(document)

    def change(self, expected: int, policy: Policy, *, actor: str, reason: str) -> Enforced:
        """Store `policy` as revision `expected + 1` and put it in force. Raises StaleError, StoreError."""
        try:
            with self._shared.changing() as word:
                entry = _append(self._store, self._bundle, expected, actor, reason, policy)
                word[0] = entry.revision
        except StaleError:
            self._publish_last()
            raise
        log.warning("policy revision %d by %s: %r", entry.revision, actor, reason)
        return Enforced(policy, entry)

    def _publish_last(self) -> Revision:
        """Share the last stored revision: heals what a writer left that was killed between storing and sharing."""
        with self._shared.changing() as word:
            entry = self._store.last()
            if entry is None:
                raise StoreError(f"no policy is stored for {self._bundle.manifest.name}")
            word[0] = entry.revision
        return entry

    def _reload(self) -> None:
        with self._reloading:
            word = self._shared.value
            failed, when = self._failed_at
            if word == self._seen or (word == failed and time.monotonic() < when + RETRY_SECONDS):
                return
            try:
                entry = self._store.last()
                if entry is not None:
                    # `seen` is the revision that was read, never the word's value: a later one is met next time.
                    self._enforced = Enforced(self._bundle.policy(entry.policy), entry)
                    self._seen = entry.revision
            except (StoreError, PolicyError):
                log.exception("revision %d stays in force: a newer one could not be read", self._seen)
            if self._seen != word:
                self._failed_at = (word, time.monotonic())


def _append(store: PolicyStore, bundle: Bundle, expected: int, actor: str, reason: str, policy: Policy) -> Revision:
    return store.append(
        expected, actor=actor, reason=reason, model_version=bundle.manifest.version,
        policy=policy.document.model_dump(mode="json"), thresholds=policy.thresholds,
    )  # fmt: skip


def _carry_over(store: PolicyStore, bundle: Bundle, last: Revision) -> Revision:
    try:
        policy, reason = bundle.policy(last.policy), f"revision {last.revision}, compiled for {bundle.id}"
        if policy.document != bundle.manifest.policy:
            reason += ", whose own default policy is another"
            log.warning("policy: %s", reason)
    except PolicyError as error:
        policy, reason = bundle.policy(), f"default of {bundle.id}; revision {last.revision} cannot be: {error}"
        log.error("policy: %s", reason)
    return _append(store, bundle, last.revision, SYSTEM, reason, policy)
