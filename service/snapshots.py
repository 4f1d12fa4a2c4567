"""Sums of all hosts over time, kept in the database: what was counted in a window, without Prometheus."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from service.database import Database
from service.tables import snapshots
from service.tally import Array

HOUR = 3_600_000
FINE = 6 * HOUR
RETAINED = 15 * 24 * HOUR
"""Milliseconds: every snapshot is kept for FINE, then one an hour until RETAINED."""


@dataclass(frozen=True, eq=False)
class Increase:
    """What all hosts counted: sums `(size,)` from `since` to `until`, in ms since the epoch; how many starts of how
    many hosts they come from.

    `since` may be earlier than what was asked for, by as much as snapshots lie apart.
    """

    sums: Array
    since: int
    until: int
    hosts: int
    starts: int


class SnapshotStore:
    """Snapshots of one model version's sums `(size,)`. Raises StoreError."""

    def __init__(self, database: Database, model: str, model_version: str, size: int) -> None:
        self._database, self._size = database, size
        self._key = {"model": model, "model_version": model_version}
        self._of_model = snapshots.c.model == model
        self._own = sa.and_(self._of_model, snapshots.c.model_version == model_version)

    def append(self, host: str, start: str, time: int, sums: Array) -> None:
        """Keep the sums that a host's workers had reached since its `start` at a time, in ms since the epoch.

        Where the clock was set back, it is as if they had been reached right after those that are kept: sums of a start
        never fall.
        """
        c = snapshots.c
        insert: Any = postgresql.insert if self._database.is_postgresql else sqlite.insert
        last = sa.select(sa.func.max(c.time)).where(self._own, c.host == host, c.start == start)
        with self._database.writing() as connection:
            after = connection.execute(last).scalar()
            if after is not None and time <= after:
                time = after + 1
            row = self._key | {"host": host, "start": start, "time": time, "sums": sums.astype("<f8").tobytes()}
            connection.execute(insert(snapshots).on_conflict_do_nothing(), row)

    def increase(self, since: int, until: int) -> Increase:
        """What was counted between two times; 0 where nothing was.

        Exact over restarts: a start of a service counts from 0. Where hosts keep sums of another size, as they do with
        another EQUIPOISE_METRIC_CLASSES, theirs are left out.
        """
        reached = self._reached(until)
        before = self._reached(since)
        starts = {key: found for key, found in reached.items() if found[0] > since and found[1].size == self._size}
        sums = np.zeros(self._size)
        for key, (_, own) in starts.items():
            sums += own - before[key][1] if key in before else own
        begun = min((before[key][0] for key in starts if key in before), default=since)
        ended = max((time for time, _ in starts.values()), default=until)
        return Increase(sums, begun, ended, len({host for host, _ in starts}), len(starts))

    def _reached(self, time: int) -> dict[tuple[str, str], tuple[int, Array]]:
        """By host and start, when its last sums were kept until a time, and what they were."""
        c = snapshots.c
        last = (sa.select(c.host, c.start, sa.func.max(c.time).label("time")).where(self._own, c.time <= time)
                .group_by(c.host, c.start).subquery())  # fmt: skip
        same = (c.host == last.c.host, c.start == last.c.start, c.time == last.c.time)
        query = sa.select(c.host, c.start, c.time, c.sums).join(last, sa.and_(*same)).where(self._own)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {(row.host, row.start): (row.time, np.frombuffer(row.sums, "<f8")) for row in rows}

    def thin(self, now: int) -> None:
        """Delete what is older than RETAINED, and of what is older than FINE all but each hour's first and each start's
        last, of every version of the model.
        """
        c = snapshots.c
        start = (c.model_version, c.host, c.start)
        first = sa.select(*start, sa.func.min(c.time)).where(self._of_model).group_by(*start, c.time // HOUR)
        last = sa.select(*start, sa.func.max(c.time)).where(self._of_model).group_by(*start)
        spare = sa.tuple_(*start, c.time).not_in(sa.union_all(first, last))
        with self._database.writing() as connection:
            connection.execute(sa.delete(snapshots).where(self._of_model, c.time < now - RETAINED))
            connection.execute(sa.delete(snapshots).where(self._of_model, c.time < now - FINE, spare))
