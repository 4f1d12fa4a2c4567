"""What became of answers: their decisions, read from the store beside the labels and audits that they have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from decision import Bundle
from decision.arrays import Flags, Probabilities
from decision.outcomes import OTHER, Outcomes
from service import ids
from service.answers import flags_of, probabilities_of
from service.database import Database
from service.tables import answers, audits, labels
from service.terms import PastTerms

CHUNK = 5_000


@dataclass(frozen=True, eq=False)
class Found:
    """n answers of one bundle version, by id: times given in milliseconds, revisions, outcomes, and delays in seconds
    to the first label, NaN without one. Arrays `(n,)`."""

    times: NDArray[np.int64]
    revisions: NDArray[np.int64]
    outcomes: Outcomes
    delays: NDArray[np.float64]


class OutcomeReader:
    """Reads the outcomes of one bundle version's answers. Raises StoreError."""

    def __init__(self, database: Database, bundle: Bundle, terms: PastTerms) -> None:
        self._database, self._terms = database, terms
        self._model, self._version = bundle.manifest.name, bundle.manifest.version
        self._index = {name: k for k, name in enumerate(bundle.classes)}

    def between(self, first: bytes, end: bytes) -> Iterator[Found]:
        """Of the answers from one id to another, not with it, that an audit drew or that have a label; in parts."""
        asked = sa.union(*(
            sa.select(table.c.id).where(table.c.model == self._model, table.c.id >= first, table.c.id < end)
            for table in (audits, labels)
        )).subquery()  # fmt: skip
        yield from self._read(answers.c.id.in_(sa.select(asked.c.id)))

    def of(self, chosen: Sequence[bytes]) -> Iterator[Found]:
        """Of these answers, where they are kept; in parts."""
        for start in range(0, len(chosen), CHUNK):
            yield from self._read(answers.c.id.in_(chosen[start : start + CHUNK]))

    def _read(self, these: sa.ColumnElement[bool]) -> Iterator[Found]:
        with self._database.reading() as connection:
            rows = connection.execution_options(yield_per=CHUNK).execute(self._query(these))
            for part in rows.partitions():
                yield self._found(part)

    def _query(self, these: sa.ColumnElement[bool]) -> sa.Select[Any]:
        first, last, own = labels.alias("first"), labels.alias("last"), answers.c
        newest = sa.select(sa.func.max(labels.c.sequence)).where(_same(labels)).correlate(answers).scalar_subquery()
        return (
            sa.select(own.id, own.revision, own.label, own.probabilities, own.flags, audits.c.probability,
                      last.c.label.label("truth"), first.c.time.label("labelled"))
            .select_from(
                answers.outerjoin(audits, _same(audits))
                .outerjoin(first, sa.and_(_same(first), first.c.sequence == 1))
                .outerjoin(last, sa.and_(_same(last), last.c.sequence == newest))
            )
            .where(own.model == self._model, own.model_version == self._version, these)
            .order_by(own.id)
        )  # fmt: skip

    def _found(self, rows: Sequence[Any]) -> Found:
        classes = len(self._index)
        times = np.array([ids.milliseconds(row.id) for row in rows])
        revisions = np.array([row.revision for row in rows])
        known = np.array([row.truth is not None for row in rows])
        adjusted, can_flag, targets = self._on_its_terms(
            probabilities_of([row.probabilities for row in rows], classes), revisions
        )
        can_flag &= np.array([row.flags is not None for row in rows])[:, None]
        outcomes = Outcomes(
            labels=np.array([row.label for row in rows]), flags=flags_of([row.flags for row in rows], classes),
            can_flag=can_flag, targets=targets, top=adjusted.argmax(axis=1), confidence=adjusted.max(axis=1),
            weights=np.array([1 / row.probability if row.probability else 0.0 for row in rows]), known=known,
            truth=np.array([self._index.get(row.truth, OTHER) for row in rows]),
        )  # fmt: skip
        labelled = np.array([row.labelled or np.nan for row in rows], dtype=np.float64)
        return Found(times, revisions, outcomes, np.maximum(0.0, (labelled - times) / 1000))

    def _on_its_terms(
        self, probabilities: Probabilities, revisions: NDArray[np.int64]
    ) -> tuple[Probabilities, Flags, NDArray[np.float64]]:
        """Adjusted to the deployment priors of the revision that decided each, what that could flag, and the recall
        that it promised; `(n, K)`.
        """
        which, terms = np.unique(revisions, return_inverse=True)
        every = [self._terms.of(int(revision)) for revision in which]
        adjusted = probabilities * np.stack([one.ratio for one in every])[terms]
        adjusted /= adjusted.sum(axis=1, keepdims=True)
        can_flag, targets = (
            np.stack(many)[terms] for many in zip(*((one.can_flag, one.targets) for one in every), strict=True)
        )
        return adjusted, can_flag, targets


def _same(table: Any) -> sa.ColumnElement[bool]:
    """A row of the answer's own."""
    return sa.and_(table.c.model == answers.c.model, table.c.id == answers.c.id)
