"""The policy store: an append-only table of revisions, written with compare-and-swap. SQLAlchemy Core."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from service.database import Database
from service.tables import hosts, revisions

CHANNEL = "equipoise"
LIVE_SECONDS = 10

Event = Literal["change", "rollback", "first", "carried", "fallback"]
"""How a revision came: by a person, or at a start: the bundle's default (first), the last policy compiled for another
bundle version (carried), or that version's default because it could not be (fallback)."""
_JSON = ("policy", "thresholds", "certificates", "preview")


class StaleError(Exception):
    """Somebody else stored a revision first."""


@dataclass(frozen=True)
class Change:
    """What is to be stored: who wants what and why, what it compiled to, and what its preview said."""

    actor: str
    reason: str
    model_version: str
    policy: Mapping[str, Any]
    thresholds: Mapping[str, float]
    event: Event = "change"
    certificates: list[dict[str, Any]] = field(default_factory=list)
    preview: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Revision(Change):
    """One stored policy. `time` is ISO 8601 in UTC."""

    revision: int
    time: str


class PolicyStore:
    """Revisions of one model's policy. A commit is on disk before `append` returns. Raises StoreError."""

    def __init__(self, database: Database, model: str) -> None:
        self.database, self._model = database, model

    def last(self) -> Revision | None:
        """The newest revision, or None before the first."""
        return next(iter(self.history(limit=1)), None)

    def chosen(self) -> Revision | None:
        """The newest revision that is not a default which took force because the one before it could not be."""
        query = sa.select(revisions).where(revisions.c.model == self._model, revisions.c.event != "fallback")
        with self.database.reading() as connection:
            row = connection.execute(query.order_by(revisions.c.revision.desc()).limit(1)).one_or_none()
        return None if row is None else _revision(row)

    def newest(self) -> tuple[int, str] | None:
        """Number and time of the newest revision: what says whether there is another, without reading it."""
        query = sa.select(revisions.c.revision, revisions.c.time).where(revisions.c.model == self._model)
        with self.database.reading() as connection:
            row = connection.execute(query.order_by(revisions.c.revision.desc()).limit(1)).one_or_none()
        return None if row is None else (row.revision, row.time)

    def get(self, revision: int) -> Revision | None:
        """One revision, None where there is none of that number."""
        found = self.history(limit=1, before=revision + 1)
        return found[0] if found and found[0].revision == revision else None

    def history(self, *, limit: int, before: int | None = None) -> list[Revision]:
        """The newest revisions (before a number), newest first."""
        query = sa.select(revisions).where(revisions.c.model == self._model)
        if before is not None:
            query = query.where(revisions.c.revision < before)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(revisions.c.revision.desc()).limit(limit)).all()
        return [_revision(row) for row in rows]

    def append(self, expected: int, change: Change, number: int | None = None) -> Revision:
        """Store revision `number` (`expected + 1`), if `expected` is the last one (0: there is none); else StaleError.

        A higher number leaves a gap, for revisions that are known to have been and are lost.
        """
        entry = Revision(**vars(change), revision=max(number or 0, expected + 1), time=datetime.now(UTC).isoformat())
        last = sa.select(sa.func.coalesce(sa.func.max(revisions.c.revision), 0)).where(revisions.c.model == self._model)
        try:
            with self.database.writing() as connection:
                if (
                    self.database.is_postgresql
                ):  # the key keeps equal numbers apart, not one with a gap from one without
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(self._model))))
                found = connection.execute(last).scalar_one()
                if found != expected:
                    raise StaleError(f"the last revision is {found}, not {expected}")
                connection.execute(sa.insert(revisions).values(model=self._model, **_columns(entry)))
                self.database.announce(connection, CHANNEL)
        except IntegrityError:  # another host was first; the primary key is the compare-and-swap
            raise StaleError(f"revision {entry.revision} is another host's") from None
        return entry

    def acknowledge(self, host: str, revision: int) -> None:
        """Say that this host's workers decide by `revision`, and that it lives; forget hosts that died long ago."""
        insert: Any = postgresql.insert if self.database.is_postgresql else sqlite.insert
        row = {"model": self._model, "host": host, "revision": revision, "seen": sa.func.now()}
        newer = {"revision": revision, "seen": sa.func.now()}
        statement = insert(hosts).values(row).on_conflict_do_update(index_elements=["model", "host"], set_=newer)
        with self.database.writing() as connection:
            connection.execute(statement)
            if self.database.is_postgresql:
                connection.execute(sa.delete(hosts).where(hosts.c.seen < sa.func.now() - sa.text("interval '1 day'")))

    def behind(self, revision: int) -> list[str]:
        """The live hosts that have not acknowledged `revision` yet."""
        alive = hosts.c.seen > sa.func.now() - sa.text(f"interval '{LIVE_SECONDS} seconds'")
        query = sa.select(hosts.c.host).where(hosts.c.model == self._model, hosts.c.revision < revision, alive)
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())


def _columns(entry: Revision) -> dict[str, Any]:
    columns = asdict(entry)
    return columns | {name: json.dumps(columns[name]) for name in _JSON}


def _revision(row: sa.Row[Any]) -> Revision:
    columns = {name: value for name, value in row._mapping.items() if name != "model"}
    return Revision(**columns | {name: json.loads(columns[name]) for name in _JSON})
