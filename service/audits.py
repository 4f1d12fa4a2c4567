"""The store of audits: draws ids to be labelled, with known probabilities, and remembers which it handed out."""

import logging
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from decision import Bundle
from decision.arrays import Probabilities
from decision.audit import Design, Draw, draw
from decision.intervals import Array
from service import ids
from service.answers import AnswerStore, probabilities_of
from service.database import Database, StoreError
from service.labels import FeedbackCounts
from service.outcomes import OutcomeReader
from service.tables import answers, audits, draws, labels

log = logging.getLogger("equipoise")

MOST_READ = 100_000
MOST_CELLS = 20_000_000  # probabilities: with a thousand classes fewer answers are looked at
MOST_DRAWS = 50
ATTEMPTS = 20


@dataclass(frozen=True)
class Sample:
    """Ids to label, in an order that says nothing: `new` ones, and those of earlier draws that have no label yet.

    It is of the `population` answers from the id `first` to `last`.
    """

    ids: tuple[bytes, ...]
    new: frozenset[bytes]
    population: int
    first: bytes
    last: bytes


@dataclass(frozen=True, eq=False)
class _Population:
    """Answers to draw from, in the order of their ids, and their calibrated probabilities `(N, K)`."""

    ids: list[bytes]
    probabilities: Probabilities


class AuditStore:
    """Draws from the answers of one bundle version. Raises StoreError."""

    def __init__(
        self, database: Database, bundle: Bundle, kept: AnswerStore, outcomes: OutcomeReader, counts: FeedbackCounts
    ) -> None:
        self._model, self._version, self._classes = bundle.manifest.name, bundle.manifest.version, len(bundle.classes)
        self._database, self._kept, self._outcomes, self._counts = database, kept, outcomes, counts

    def sample(self, n: int, design: Design, seconds: float) -> Sample:
        """Draw about n ids of the last so many seconds that were not drawn before; at most MOST_READ are looked at.

        Only where no answer was thinned out yet. Of two draws at once the key lets one through, the other begins again.
        """
        now = time.time()
        begin = max(ids.first_at(now - seconds), self._kept.whole_since(now))
        for _ in range(ATTEMPTS):
            found = self._population(begin)
            if not found.ids:
                return Sample((), frozenset(), 0, begin, ids.first_at(now))
            try:
                return self._drawn(n, design, found)
            except IntegrityError:
                continue
        raise StoreError(f"others draw at the same time: {ATTEMPTS} attempts")

    def _population(self, begin: bytes) -> _Population:
        own = answers.c
        query = sa.select(own.id, own.probabilities).where(
            own.model == self._model, own.model_version == self._version, own.id >= begin
        )
        with self._database.reading() as connection:
            rows = connection.execute(
                query.order_by(own.id.desc()).limit(min(MOST_READ, MOST_CELLS // self._classes))
            ).all()[::-1]
        return _Population(
            [row.id for row in rows], probabilities_of([row.probabilities for row in rows], self._classes)
        )

    def _drawn(self, n: int, design: Design, found: _Population) -> Sample:
        number, earlier = self._earlier(found)
        made = draw(n, found.probabilities, earlier, design)
        inclusion = made.inclusion(found.probabilities)
        taken = np.flatnonzero(ids.random_numbers(found.ids) < inclusion)
        chosen = {found.ids[i]: float(inclusion[i]) for i in taken.tolist()}
        population, first, last = set(found.ids), found.ids[0], found.ids[-1]
        with self._database.writing() as connection:
            connection.execute(sa.insert(draws).values(
                model=self._model, number=number + 1, model_version=self._version, first=first, last=last,
                design=design, rule=np.append(made.base, made.slopes).tobytes(), time=int(1000 * time.time()),
            ))  # fmt: skip
            before = {own: p for own, p in self._between(connection, first, last) if own in population}
            new = chosen.keys() - before.keys()
            self._write(connection, design, {own: chosen[own] for own in new},
                        {own: p for own, p in chosen.items() if p > before.get(own, 1.0)})  # fmt: skip
            done = self._labelled(connection, first, last)
        self._count([own for own in new if own in done])
        wanted = sorted((before.keys() | new) - done, key=lambda own: own[::-1])  # the last bytes are random
        return Sample(tuple(wanted), frozenset(new - done), len(found.ids), first, last)

    def _earlier(self, found: _Population) -> tuple[int, list[Array]]:
        """The number of the last draw; and what the last draws that reach into this population gave each answer."""
        last = sa.select(sa.func.coalesce(sa.func.max(draws.c.number), 0)).where(draws.c.model == self._model)
        query = sa.select(draws).where(
            draws.c.model == self._model, draws.c.model_version == self._version,
            draws.c.last >= found.ids[0], draws.c.first <= found.ids[-1],
        )  # fmt: skip
        with self._database.reading() as connection:
            number = connection.execute(last).scalar_one()
            rows = connection.execute(query.order_by(draws.c.number.desc()).limit(MOST_DRAWS)).all()
        return number, [_inclusion(row, found) for row in rows]

    def _between(self, connection: sa.Connection, first: bytes, last: bytes) -> Sequence[Any]:
        """Ids that were handed out, and their inclusion probabilities."""
        query = sa.select(audits.c.id, audits.c.probability)
        mine = query.where(audits.c.model == self._model, audits.c.id >= first, audits.c.id <= last)
        return connection.execute(mine).all()

    def _write(
        self, connection: sa.Connection, design: Design, new: dict[bytes, float], higher: dict[bytes, float]
    ) -> None:
        now = int(1000 * time.time())
        if new:
            connection.execute(sa.insert(audits), [
                {"model": self._model, "id": own, "probability": p, "design": design, "time": now}
                for own, p in new.items()
            ])  # fmt: skip
        if higher:
            one = sa.and_(audits.c.model == self._model, audits.c.id == sa.bindparam("own"))
            change = sa.update(audits).where(one).values(probability=sa.bindparam("p"))
            connection.execute(change, [{"own": own, "p": p} for own, p in higher.items()])

    def _labelled(self, connection: sa.Connection, first: bytes, last: bytes) -> set[bytes]:
        query = sa.select(labels.c.id).where(
            labels.c.model == self._model, labels.c.sequence == 1, labels.c.id >= first, labels.c.id <= last
        )
        return set(connection.execute(query).scalars())

    def _count(self, reviewed: list[bytes]) -> None:
        """What was labelled before it was drawn belongs to the audit: without it the flagged would be missing there."""
        try:
            for found in self._outcomes.of(reviewed):
                self._counts.drawn(found.outcomes)
        except StoreError as error:
            log.error("%d labels are of an audit and not counted so: %s", len(reviewed), error)


def _inclusion(row: Any, found: _Population) -> Array:
    """The inclusion probabilities of a stored draw `(N,)`, 0 outside what it covered."""
    base, *slopes = np.frombuffer(row.rule, np.float64).tolist()
    covered = slice(bisect_left(found.ids, row.first), bisect_right(found.ids, row.last))
    inclusion = np.zeros(len(found.ids))
    inclusion[covered] = Draw(base, np.array(slopes)).inclusion(found.probabilities[covered])
    return inclusion
