"""The store of labels: what answers truly were, as people said, append-only, and what became of each that was sent."""

import logging
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import IntegrityError

from decision import Bundle
from decision.outcomes import Outcomes
from service import ids
from service.answers import RETAINED_SECONDS, AnswerStore
from service.database import Database, StoreError
from service.outcomes import OutcomeReader
from service.tables import answers, audits, labels

log = logging.getLogger("equipoise")

Result = Literal["accepted", "duplicate", "conflict", "unknown", "expired", "not_kept"]
ATTEMPTS = 20


@dataclass(frozen=True)
class Label:
    """What somebody says an answer truly was. `own` is the answer's id; None where what came is no id."""

    own: bytes | None
    label: str
    replace: bool = False
    source: str = ""


@dataclass(frozen=True)
class Fate:
    """What became of a label, and why."""

    result: Result
    detail: str = ""


class FeedbackCounts(Protocol):
    """What counts feedback; called from any thread, after the labels are stored."""

    def items(self, result: Result, n: int) -> None:
        """So many labels that were sent had this result."""

    def labelled(self, outcomes: Outcomes, delays: NDArray[np.float64]) -> None:
        """These answers got their first label, so many seconds after they were given."""

    def drawn(self, outcomes: Outcomes) -> None:
        """These had a label before an audit drew them: reviews till now."""


class LabelStore:
    """Labels of one model's answers; the newest of an answer counts. Raises StoreError."""

    def __init__(
        self, database: Database, bundle: Bundle, kept: AnswerStore, outcomes: OutcomeReader, counts: FeedbackCounts
    ) -> None:
        self._database, self._model, self._kept = database, bundle.manifest.name, kept
        self._outcomes, self._counts = outcomes, counts

    def missing(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those that are no answer in the store."""
        with self._database.reading() as connection:
            return set(wanted) - self._known(connection, answers, wanted)

    def add(self, given: Sequence[Label], actor: str) -> list[Fate]:
        """Store them in one transaction; what became of each, in order.

        Of two hosts that label one answer at once the key lets one through, and the other looks again.
        """
        for _ in range(ATTEMPTS):
            try:
                fates, audited, reviewed = self._try(given, actor)
                break
            except IntegrityError:
                continue
        else:
            raise StoreError(f"others label the same answers: {ATTEMPTS} attempts")
        self._count(fates, audited, reviewed)
        return fates

    def _try(self, given: Sequence[Label], actor: str) -> tuple[list[Fate], list[bytes], list[bytes]]:
        """What became of each, and the answers that got their first label: those that were drawn, and the others."""
        named = {item.own for item in given if item.own is not None}
        now = time.time()
        since = self._kept.whole_since(now)
        with self._database.writing() as connection:
            known, drawn = (self._known(connection, table, named) for table in (answers, audits))
            fates, new = _judged(given, known, self._newest(connection, named), since, now)
            rows = [
                {"model": self._model, "id": own, "sequence": sequence, "label": item.label, "time": int(1000 * now),
                 "actor": actor, "source": item.source, "design": "audit" if own in drawn else "review"}
                for (own, sequence), item in new.items()
            ]  # fmt: skip
            rows.sort(key=lambda row: (row["id"], row["sequence"]))  # in one order everywhere, or two hosts deadlock
            if rows:
                connection.execute(sa.insert(labels), rows)
        first = [own for own, sequence in new if sequence == 1]
        return fates, [own for own in first if own in drawn], [own for own in first if own not in drawn]

    def _known(self, connection: sa.Connection, table: sa.Table, wanted: Collection[bytes]) -> set[bytes]:
        query = sa.select(table.c.id).where(table.c.model == self._model, table.c.id.in_(wanted))
        return {bytes(own) for own in connection.execute(query).scalars()}

    def _newest(self, connection: sa.Connection, wanted: Collection[bytes]) -> dict[bytes, tuple[int, str]]:
        """Number and label of the newest of each."""
        query = sa.select(labels.c.id, labels.c.sequence, labels.c.label)
        mine = query.where(labels.c.model == self._model, labels.c.id.in_(wanted)).order_by(labels.c.sequence)
        return {row.id: (row.sequence, row.label) for row in connection.execute(mine)}

    def _count(self, fates: list[Fate], audited: list[bytes], reviewed: list[bytes]) -> None:
        for result, n in Counter(fate.result for fate in fates).items():
            self._counts.items(result, n)
        try:
            for found in self._outcomes.of(audited):
                self._counts.labelled(found.outcomes, found.delays)
            for found in self._outcomes.of(reviewed):  # what is drawn since then is counted by who draws it
                outcomes = replace(found.outcomes, weights=np.zeros(len(found.delays)))
                self._counts.labelled(outcomes, found.delays)
        except StoreError as error:
            log.error("%d labels are stored and not counted: %s", len(audited) + len(reviewed), error)


def _judged(
    given: Sequence[Label], known: set[bytes], before: dict[bytes, tuple[int, str]], since: bytes, now: float
) -> tuple[list[Fate], dict[tuple[bytes, int], Label]]:
    """What becomes of each in turn, and what is to be stored, by id and number."""
    newest, fates, new = dict(before), list[Fate](), dict[tuple[bytes, int], Label]()
    for item in given:
        if item.own is None or item.own not in known:
            fates.append(_lost(item.own, since, now))
            continue
        number, label = newest.get(item.own, (0, None))
        fates.append(_fate(item, label))
        if fates[-1].result == "accepted":
            newest[item.own] = (number + 1, item.label)
            new[item.own, number + 1] = item
    return fates, new


def _fate(item: Label, before: str | None) -> Fate:
    """Of a label for an answer in the store, which has the label `before`, or none."""
    if before is None:
        return Fate("accepted")
    if item.label == before:
        return Fate("duplicate")
    if item.replace:
        return Fate("accepted", f"replaces {before!r}")
    return Fate("conflict", f'it is labelled {before!r}; "replace": true corrects that')


def _lost(own: bytes | None, since: bytes, now: float) -> Fate:
    """Of a label for an answer that is not in the store, which is whole from the id `since` on."""
    if own is None:
        return Fate("unknown", "expected the id of an answer, a UUID of version 7")
    if own < ids.first_at(now - RETAINED_SECONDS):
        return Fate("expired", f"answers are kept for {RETAINED_SECONDS // 86400} days, beyond that a sample of them")
    if own < since:
        return Fate("not_kept", "there were too many answers since; of those before a sample is kept")
    return Fate("unknown", "no answer of this model has the id")
