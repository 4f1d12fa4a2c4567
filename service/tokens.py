"""Tokens: what one is, where they are kept, and which of them a request came with.

A token is `eqp_<id>_<secret>`. The id is public: it finds the row. The secret is 256 random bits, of which a plain
SHA-256 is kept: a slow hash makes up for secrets that can be guessed, and these cannot.
"""

import hmac
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.database import Database, StoreError
from service.shared import SharedWord
from service.tables import tokens

log = logging.getLogger("equipoise")

Scope = Literal["predict", "read", "write-policy", "feedback"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
RESERVED = ("admin", "predict", "anonymous", "system")  # actors that are no token of the store
LONGEST_NAME = 100
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 2.0

_HEAD = re.compile(rb"eqp_([0-9a-f]{8})_")
_HEAD_LENGTH = len("eqp_12345678_")
_ID = re.compile(r"[0-9a-f]{8}")
_NO_SUCH_ID = b"--------"


class TokenError(ValueError):
    """A token that cannot be made."""


@dataclass(frozen=True)
class Token:
    """What is known of a token: never its secret. Times are ISO 8601 in UTC."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created: str
    revoked: str | None = None

    @property
    def live(self) -> bool:
        return self.revoked is None


class TokenStore:
    """All tokens there ever were, in the database. Raises StoreError."""

    def __init__(self, store: Database, changes: SharedWord) -> None:
        self._database, self._changes = store, changes

    @classmethod
    def of(cls, store: Database, state: Path) -> "TokenStore":
        """Those of a database; the workers on `state` see a change at their next request."""
        return cls(store, SharedWord(state / "tokens.generation"))

    @property
    def generation(self) -> int:
        """A number that moves with every change made on this host: a plain memory read."""
        return self._changes.value

    def digests(self) -> dict[bytes, tuple[bytes, Token]]:
        """The SHA-256 of the secret, and the token, by id, oldest first."""
        query = sa.select(tokens).order_by(tokens.c.created, tokens.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {row.id.encode(): (bytes.fromhex(row.digest), _token(row)) for row in rows}

    def all(self) -> list[Token]:
        """Every token, oldest first."""
        return [token for _, token in self.digests().values()]

    def create(self, name: str, scopes: Iterable[Scope]) -> tuple[str, Token]:
        """A new token, and what is known of it: nobody can show it a second time. Raises TokenError."""
        _require_name(name)
        while True:
            secret = secrets.token_urlsafe(32)
            token = Token(secrets.token_hex(4), name, frozenset(scopes), _now())
            row = {"id": token.id, "name": name, "digest": sha256(secret.encode()).hexdigest(),
                   "scopes": _text(token.scopes), "created": token.created}  # fmt: skip
            try:
                with self._database.writing() as connection:
                    connection.execute(sa.insert(tokens).values(row))
            except IntegrityError:
                if any(other.live and other.name == name for other in self.all()):
                    raise TokenError(f"expected a name that no live token has, got {name!r}") from None
                continue  # the id is taken
            self._publish()
            return f"eqp_{token.id}_{secret}", token

    def revoke(self, name_or_id: str) -> Token | None:
        """End the live token of this name, or with this id; None where there is none. In force when this returns."""
        columns = tokens.c
        named = sa.or_(columns.name == name_or_id, columns.id == name_or_id)
        change = sa.update(tokens).where(named, columns.revoked.is_(None)).values(revoked=_now())
        with self._database.writing() as connection:
            row = connection.execute(change.returning(tokens)).one_or_none()
        self._publish()  # also where nothing changed: a revocation killed before this line is healed by the next
        return None if row is None else _token(row)

    def _publish(self) -> None:
        with self._changes.changing() as word:
            word[0] += 1


class TokensInForce:
    """The tokens that a worker knows: those of the environment, and a snapshot of the store.

    A thread of its own reads the snapshot again when a request finds that the host's generation has moved, and
    once a second for what other hosts changed. With the database down the last one goes on.
    """

    def __init__(self, store: TokenStore, admin: str, predict: str) -> None:
        self._store = store
        self._given = [
            (sha256(os.fsencode(secret)).digest(), Token("", name, frozenset(scopes), created=""))
            for name, secret, scopes in (("admin", admin, SCOPES), ("predict", predict, ("predict", "read")))
            if secret
        ]
        nobody = Token("", "nobody", frozenset(), created="")
        self._dummy = (secrets.token_bytes(32), nobody)  # no known secret has this digest
        self._seen, self._known = -1, dict[bytes, tuple[bytes, Token]]()
        self._down, self._closed = False, False
        self._asked, self._read = threading.Event(), threading.Condition()
        self._follower = threading.Thread(target=self._follow, name="tokens", daemon=True)
        self._follower.start()
        self.refresh()

    @property
    def loaded(self) -> bool:
        """Whether the store was read at least once; until then an unknown token may still be a good one."""
        return self._seen >= 0

    @property
    def stale(self) -> bool:
        """Whether a token of this host was made or revoked since the snapshot was read, and can be asked for."""
        return self._store.generation != self._seen and not self._down

    def refresh(self) -> None:
        """Have the snapshot read again; what the generation stands for is known when this returns.

        Waits for a database that does not answer once, and for PATIENCE_SECONDS at most.
        """
        wanted = self._store.generation
        with self._read:
            self._asked.set()
            if not self._read.wait_for(lambda: self._seen >= wanted or self._down, PATIENCE_SECONDS):
                self._fail("the database does not answer")

    def find(self, presented: bytes) -> Token | None:
        """The token, live or revoked, that this is.

        An id that nobody has costs the same comparisons as a known one with another secret.
        """
        found = None
        whole = sha256(presented).digest()
        for digest, token in self._given:
            if hmac.compare_digest(whole, digest):
                found = token
        head = _HEAD.match(presented)
        digest, token = self._known.get(head[1] if head else _NO_SUCH_ID, self._dummy)
        if hmac.compare_digest(sha256(presented[_HEAD_LENGTH:]).digest(), digest):
            found = token
        return found

    def close(self) -> None:
        """Follow no more; the database is let go of when this returns, if it answers."""
        self._closed = True
        self._asked.set()
        self._follower.join(PATIENCE_SECONDS)

    def _follow(self) -> None:
        while not self._closed:
            self._asked.wait(POLL_SECONDS)
            self._asked.clear()
            generation = self._store.generation  # before the read: what changes meanwhile is met next time
            try:
                known = self._store.digests()
            except StoreError as error:
                with self._read:
                    self._fail(str(error))
            else:
                with self._read:
                    self._known, self._seen, self._down = known, generation, False
                    self._read.notify_all()

    def _fail(self, why: str) -> None:
        if not self._down:
            log.error("the last known tokens go on: %s", why)
        self._down = True
        self._read.notify_all()


def _require_name(name: str) -> None:
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()):
        raise TokenError(f"expected a name of 1 to {LONGEST_NAME} printable characters, got {name[:200]!r}")
    if name in RESERVED or _ID.fullmatch(name):
        raise TokenError(f"expected a name other than {', '.join(RESERVED)} and unlike an id, got {name!r}")


def _text(scopes: frozenset[Scope]) -> str:
    return " ".join(scope for scope in SCOPES if scope in scopes)


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    scopes = frozenset(cast("Scope", scope) for scope in row.scopes.split())
    return Token(row.id, row.name, scopes, row.created, row.revoked)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
