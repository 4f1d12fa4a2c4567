"""The store of answers: what the service said, for replay, feedback, audit samples and drift."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from decision.arrays import Flags, Labels, Probabilities
from service import ids
from service.database import Database
from service.tables import answers, audits, draws, labels

RETAINED = 1_000_000
RETAINED_SECONDS = 14 * 24 * 3600
SAMPLED = (65536 // 100).to_bytes(2)  # of what is older stay the ids whose last two bytes are below: one in a hundred
AUDITED_SECONDS = 90 * 24 * 3600  # so long stays what was labelled or is to be
PRUNED_AT_ONCE = 5_000
HALF = np.dtype("<f2")
INSERT = (
    f"INSERT INTO {answers.name} (model, id, model_version, revision, label, probabilities, flags) "
    "VALUES ({mark}, {mark}, {mark}, {mark}, {mark}, {mark}, {mark}) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, eq=False)
class Answers:
    """n answers: ids, UUIDs of version 7; revisions and labels `(n,)`, -1 abstains; probabilities and flags `(n, K)`.

    Probabilities are calibrated, under the calibration priors and not the deployment ones.
    """

    ids: tuple[str, ...]
    revisions: NDArray[np.int64]
    labels: Labels
    probabilities: Probabilities
    flags: Flags


class AnswerStore:
    """The answers of one model, written as those of one version of it. Ids sort by time. Raises StoreError."""

    def __init__(self, database: Database, model: str, model_version: str, classes: int) -> None:
        self._database = database
        self._model, self._model_version, self._classes = model, model_version, classes
        self._own = sa.and_(answers.c.model == model, answers.c.model_version == model_version)

    def append(self, new: Answers) -> None:
        """Store them in one transaction, probabilities rounded to float16; an id that is there stays as it was."""
        if not new.ids:
            return
        halves, flags = new.probabilities.astype(HALF), np.packbits(new.flags, axis=1)
        rows = [
            (self._model, ids.of(own), self._model_version, revision, label, half.tobytes(), flagged.tobytes())
            for own, revision, label, half, flagged in zip(
                new.ids, new.revisions.tolist(), new.labels.tolist(), halves, flags, strict=True)
        ]  # fmt: skip
        with self._database.writing() as connection:
            # The driver's own words: SQLAlchemy would take longer over the parameters than the database over the rows.
            connection.exec_driver_sql(INSERT.format(mark="%s" if self._database.is_postgresql else "?"), rows)

    def last(self, n: int) -> Answers:
        """The newest n of this version, newest first; without flags where they were stored before flags were."""
        return self._found(sa.true(), n)

    def sampled(self, since: float, n: int) -> Answers:
        """About n of this version since a Unix time, each as likely as any, newest first; all where there are fewer."""
        columns = answers.c
        recent = columns.id >= max(ids.first_at(since), self.whole_since(time.time()))
        count = sa.select(sa.func.count()).where(self._own, recent)
        with self._database.reading() as connection:
            chance = n / max(n, connection.execute(count).scalar_one())
        if chance < 1:
            number = sa.func.substr(columns.id, ids.RANDOM.start + 1, 5, type_=sa.LargeBinary)
            recent &= number < int(chance * 2**40).to_bytes(5)
        return self._found(recent, 2 * n)

    def _found(self, wanted: sa.ColumnElement[bool], most: int) -> Answers:
        columns = answers.c
        query = (
            sa.select(columns.id, columns.revision, columns.label, columns.probabilities, columns.flags)
            .where(self._own, wanted).order_by(columns.id.desc()).limit(most)
        )  # fmt: skip
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return Answers(
            tuple(str(UUID(bytes=row.id)) for row in rows),
            np.array([row.revision for row in rows], dtype=np.int64),
            np.array([row.label for row in rows], dtype=np.int64),
            probabilities_of([row.probabilities for row in rows], self._classes),
            flags_of([row.flags for row in rows], self._classes),
        )

    def prune(self, now: float) -> Iterator[int]:
        """Thin out what is beyond the newest RETAINED answers or, at `now` (a Unix time), older than
        RETAINED_SECONDS.

        Of that stays one in a hundred, the same ones each time, and for AUDITED_SECONDS what was drawn or labelled.
        Each step deletes so few that SQLite's write lock is soon free again, and yields how many.
        """
        own, id_ = answers.c.model == self._model, answers.c.id
        forgotten = ids.first_at(now - AUDITED_SECONDS)
        wanted = sa.and_(id_ >= forgotten, sa.or_(_has(audits), _has(labels)))
        unsampled = sa.func.substr(id_, 15, 2, type_=sa.LargeBinary) >= SAMPLED
        spare = sa.and_(own, id_ < self.whole_since(now), unsampled, sa.not_(wanted))
        batch = sa.select(id_).where(spare).order_by(id_).limit(PRUNED_AT_ONCE).subquery()
        ends = sa.select(sa.func.min(batch.c.id), sa.func.max(batch.c.id))
        self._forget(forgotten)
        while True:
            with self._database.reading() as connection:  # what is sampled is passed over before the lock is taken
                first, last = connection.execute(ends).one()
            if first is None:
                return
            with self._database.writing() as connection:
                deleted = connection.execute(sa.delete(answers).where(spare, id_ >= first, id_ <= last)).rowcount
            yield deleted

    def whole_since(self, now: float) -> bytes:
        """The id before which answers are thinned out, or have been."""
        id_ = answers.c.id
        query = sa.select(id_).where(answers.c.model == self._model).order_by(id_.desc()).offset(RETAINED - 1).limit(1)
        with self._database.reading() as connection:
            oldest: bytes = connection.execute(query).scalar() or b""
        return max(oldest, ids.first_at(now - RETAINED_SECONDS))

    def _forget(self, before: bytes) -> None:
        """Delete what was asked and said of answers before an id."""
        old = [(table, sa.and_(table.c.model == self._model, column < before))
               for table, column in ((audits, audits.c.id), (labels, labels.c.id), (draws, draws.c.last))]  # fmt: skip
        with self._database.reading() as connection:
            found = [(table, spare) for table, spare in old if connection.scalar(sa.select(sa.exists().where(spare)))]
        if found:
            with self._database.writing() as connection:
                for table, spare in found:
                    connection.execute(sa.delete(table).where(spare))


def probabilities_of(stored: list[bytes], classes: int) -> Probabilities:
    """Calibrated probabilities `(n, K)` as they were stored."""
    return np.frombuffer(b"".join(stored), HALF).reshape(len(stored), classes).astype(np.float64)


def flags_of(stored: list[bytes | None], classes: int) -> Flags:
    """Flags `(n, K)` as they were stored; none where nobody knows."""
    unknown = bytes(-(-classes // 8))
    packed = np.frombuffer(b"".join(row or unknown for row in stored), np.uint8).reshape(len(stored), len(unknown))
    return np.unpackbits(packed, axis=1, count=classes).astype(np.bool_)


def _has(table: sa.Table) -> sa.Exists:
    """Whether an answer has a row there."""
    return sa.exists().where(table.c.model == answers.c.model, table.c.id == answers.c.id)
