"""The store of answers: what the service said, for replay, feedback, audit samples and drift."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from decision.arrays import Labels, Probabilities
from service.database import Database
from service.tables import answers

RETAINED = 1_000_000
RETAINED_SECONDS = 14 * 24 * 3600
SAMPLED = (65536 // 100).to_bytes(2)  # of what is older stay the ids whose last two bytes are below: one in a hundred
PRUNED_AT_ONCE = 5_000
HALF = np.dtype("<f2")


@dataclass(frozen=True, eq=False)
class Answers:
    """n answers: their ids, UUIDs of version 7; revisions and labels `(n,)`, -1 abstains; probabilities `(n, K)`.

    Probabilities are calibrated, under the calibration priors and not the deployment ones.
    """

    ids: tuple[str, ...]
    revisions: NDArray[np.int64]
    labels: Labels
    probabilities: Probabilities


class AnswerStore:
    """The answers of one model, written as those of one version of it. Ids sort by time. Raises StoreError."""

    def __init__(self, database: Database, model: str, model_version: str, classes: int) -> None:
        self._database = database
        self._model, self._model_version, self._classes = model, model_version, classes

    def append(self, new: Answers) -> None:
        """Store them in one transaction, probabilities rounded to float16; an id that is there stays as it was."""
        rows = [
            {"model": self._model, "id": UUID(own).bytes, "model_version": self._model_version,
             "revision": revision, "label": label, "probabilities": half.tobytes()}
            for own, revision, label, half in zip(
                new.ids, new.revisions.tolist(), new.labels.tolist(), new.probabilities.astype(HALF), strict=True)
        ]  # fmt: skip
        insert: Any = postgresql.insert if self._database.is_postgresql else sqlite.insert
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(answers).on_conflict_do_nothing(), rows)

    def last(self, n: int) -> Answers:
        """The newest n of this version, newest first."""
        columns = answers.c
        query = (
            sa.select(columns.id, columns.revision, columns.label, columns.probabilities)
            .where(columns.model == self._model, columns.model_version == self._model_version)
            .order_by(columns.id.desc()).limit(n)
        )  # fmt: skip
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        halves = np.frombuffer(b"".join(row.probabilities for row in rows), HALF).reshape(len(rows), self._classes)
        return Answers(
            tuple(str(UUID(bytes=row.id)) for row in rows),
            np.array([row.revision for row in rows], dtype=np.int64),
            np.array([row.label for row in rows], dtype=np.int64),
            halves.astype(np.float64),
        )

    def prune(self, now: float) -> Iterator[int]:
        """Thin out what is beyond the newest RETAINED answers or, at `now` (a Unix time), older than
        RETAINED_SECONDS.

        Of that stays one in a hundred, the same ones each time. Each step deletes so few that SQLite's write lock is
        soon free again, and yields how many.
        """
        own, ids = answers.c.model == self._model, answers.c.id
        spare = sa.and_(own, ids < self._cut(now), sa.func.substr(ids, 15, 2, type_=sa.LargeBinary) >= SAMPLED)
        batch = sa.select(ids).where(spare).order_by(ids).limit(PRUNED_AT_ONCE).subquery()
        ends = sa.select(sa.func.min(batch.c.id), sa.func.max(batch.c.id))
        while True:
            with self._database.reading() as connection:  # what is sampled is passed over before the lock is taken
                first, last = connection.execute(ends).one()
            if first is None:
                return
            with self._database.writing() as connection:
                deleted = connection.execute(sa.delete(answers).where(spare, ids >= first, ids <= last)).rowcount
            yield deleted

    def _cut(self, now: float) -> bytes:
        """The id before which answers are thinned out."""
        ids = answers.c.id
        query = sa.select(ids).where(answers.c.model == self._model).order_by(ids.desc()).offset(RETAINED - 1).limit(1)
        with self._database.reading() as connection:
            oldest: bytes = connection.execute(query).scalar() or b""
        milliseconds = max(0, int(1000 * (now - RETAINED_SECONDS)))
        return max(oldest, (milliseconds << 80).to_bytes(16))
