"""The policy store: an append-only table of revisions, written with compare-and-swap. SQLAlchemy Core."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.database import Database, StoreError, revisions

__all__ = ["PolicyStore", "Revision", "StaleError", "StoreError"]


class StaleError(Exception):
    """Somebody else stored a revision first; `last` is its number."""

    def __init__(self, last: int) -> None:
        super().__init__(f"the last revision is {last}")
        self.last = last


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

    def __init__(self, database: Database, model: str) -> None:
        self._database, self._model = database, model

    def last(self) -> Revision | None:
        """The revision in force, or None before the first."""
        query = sa.select(revisions).where(revisions.c.model == self._model)
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(revisions.c.revision.desc()).limit(1)).one_or_none()
        return None if row is None else _revision(row)

    def append(
        self, expected: int, *, actor: str, reason: str, model_version: str,
        policy: dict[str, Any], thresholds: dict[str, float],
    ) -> Revision:  # fmt: skip
        """Store revision `expected + 1`, if `expected` is the last one (0: there is none); else StaleError."""
        entry = Revision(expected + 1, datetime.now(UTC).isoformat(), actor, reason, model_version, policy, thresholds)
        last = sa.select(sa.func.coalesce(sa.func.max(revisions.c.revision), 0)).where(revisions.c.model == self._model)
        try:
            with self._database.writing() as connection:
                found = connection.execute(last).scalar_one()
                if found != expected:
                    raise StaleError(found)
                connection.execute(sa.insert(revisions).values(model=self._model, **_columns(entry)))
        except IntegrityError:  # another host was first; the primary key is the compare-and-swap
            raise StaleError(expected + 1) from None
        return entry


def _columns(entry: Revision) -> dict[str, Any]:
    return vars(entry) | {"policy": json.dumps(entry.policy), "thresholds": json.dumps(entry.thresholds)}


def _revision(row: sa.Row[Any]) -> Revision:
    columns = {name: value for name, value in row._mapping.items() if name != "model"}
    return Revision(**columns | {"policy": json.loads(row.policy), "thresholds": json.loads(row.thresholds)})
