"""The policy store: an append-only table of revisions, written with compare-and-swap. SQLAlchemy Core."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

_metadata = sa.MetaData()
_revisions = sa.Table(
    "revisions", _metadata,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("thresholds", sa.Text, nullable=False),
)  # fmt: skip


class StaleError(Exception):
    """Somebody else stored a revision first; `last` is its number."""

    def __init__(self, last: int) -> None:
        super().__init__(f"the last revision is {last}")
        self.last = last


class StoreError(Exception):
    """The database does not answer, or not as it should."""


@dataclass(frozen=True)
class Revision:
    """One stored policy. `time` is ISO 8601 in UTC; `policy` and `thresholds` are JSON values."""

    revision: int
    time: str
    actor: str
    reason: str
    model_version: str
    policy: dict[str, Any]
    thresholds: dict[str, float]


class PolicyStore:
    """Revisions of one model's policy. A commit is on disk before `append` returns. Raises StoreError."""

    def __init__(self, url: str, model: str) -> None:
        self._model = model
        try:
            self._engine = _engine(url)
            _metadata.create_all(self._engine)
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise StoreError(f"the policy store cannot be opened: {error}") from error

    def last(self) -> Revision | None:
        """The revision in force, or None before the first."""
        query = sa.select(_revisions).where(_revisions.c.model == self._model)
        try:
            with self._engine.connect() as connection:
                row = connection.execute(query.order_by(_revisions.c.revision.desc()).limit(1)).one_or_none()
        except SQLAlchemyError as error:
            raise StoreError(f"the policy store cannot be read: {error}") from error
        return None if row is None else _revision(row)

    def append(
        self, expected: int, *, actor: str, reason: str, model_version: str,
        policy: dict[str, Any], thresholds: dict[str, float],
    ) -> Revision:  # fmt: skip
        """Store revision `expected + 1`, if `expected` is the last one (0: there is none); else StaleError."""
        entry = Revision(expected + 1, datetime.now(UTC).isoformat(), actor, reason, model_version, policy, thresholds)
        last = sa.select(sa.func.coalesce(sa.func.max(_revisions.c.revision), 0)).where(
            _revisions.c.model == self._model
        )
        try:
            with self._engine.begin() as connection:
                found = connection.execute(last).scalar_one()
                if found != expected:
                    raise StaleError(found)
                connection.execute(sa.insert(_revisions).values(model=self._model, **_columns(entry)))
        except IntegrityError:  # another host was first; the primary key is the compare-and-swap
            raise StaleError(expected + 1) from None
        except SQLAlchemyError as error:
            raise StoreError(f"the policy store cannot be written: {error}") from error
        return entry

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": 10})

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _columns(entry: Revision) -> dict[str, Any]:
    return vars(entry) | {"policy": json.dumps(entry.policy), "thresholds": json.dumps(entry.thresholds)}


def _revision(row: sa.Row[Any]) -> Revision:
    columns = {name: value for name, value in row._mapping.items() if name != "model"}
    return Revision(**columns | {"policy": json.loads(row.policy), "thresholds": json.loads(row.thresholds)})
