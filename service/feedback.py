"""Feedback over HTTP: labels come in, ids to be labelled go out, and what both together say of the quality."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from decision import Fault
from decision.audit import Design
from decision.errors import MOST_NAMED, listed, pointer
from service import body, ids, query
from service.audits import Sample
from service.feedback_schemas import (
    LabelDocument,
    LabelsDocument,
    QualityDocument,
    ResultDocument,
    ResultsDocument,
    SampleDocument,
    ToLabelDocument,
)  # fmt: skip
from service.labels import Label
from service.limits import DRAWN_DAYS, MOST_DRAWN, MOST_LABELS, OBSERVED_DAYS
from service.observed import Split
from service.problems import Problem
from service.worker import Worker, as_json, worker_of

DAY = 24 * 3600
USUALLY_DRAWN = 100
FRESH_SECONDS, LOOK_AGAIN_SECONDS = 4.0, 0.2  # an answer is stored a second or so after it was given
SAID = {  # where pydantic's words are about Python
    "missing": "expected a value",
    "extra_forbidden": "expected no such field",
    "model_type": 'expected an object like {"id": "…", "label": "…"}',
    "list_type": "expected a list of labels",
    "too_short": "expected at least one label",
    "too_long": f"expected at most {MOST_LABELS:,} labels",
}
NOT_CACHED = {"Cache-Control": "no-store"}


async def add_labels(request: Request) -> Response:
    """True labels of earlier answers: one or many, each with what became of it."""
    worker = worker_of(request)
    actor = await worker.access.require(request, "POST /feedback")
    query.only(request)
    items = _items(await body.document(request), worker.bundle.classes)
    labels = [Label(ids.parsed(item.id), item.label, item.replace, item.source) for item in items]
    await _stored(worker, {label.own for label in labels if label.own is not None})
    fates = await worker.ask_store(worker.labels.add, labels, actor)
    results = [ResultDocument(id=item.id, result=fate.result, detail=fate.detail or None)
               for item, fate in zip(items, fates, strict=True)]  # fmt: skip
    return as_json(ResultsDocument(results=results).model_dump())


async def audit_sample(request: Request) -> Response:
    """Ids to be labelled, drawn so that recall can be estimated from them; without what was decided."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /audit-sample")
    query.only(request, "n", "design", "window")
    n = query.number(request, "n", most=MOST_DRAWN) or USUALLY_DRAWN
    design = cast("Design", query.choice(request, "design", "random", "stratified") or "random")
    window, seconds = query.duration(request, "window", usually="24h", most=DRAWN_DAYS * DAY)
    found = await worker.ask_store(worker.audits.sample, n, design, seconds)
    return as_json(_sample(found, n, design, window).model_dump(by_alias=True), headers=NOT_CACHED)


async def get_quality(request: Request) -> Response:
    """Observed recall, precision and calibration of the answers of a window."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /quality")
    query.only(request, "window", "by")
    split = cast("Split | None", query.choice(request, "by", "revision", "day"))
    window, seconds = query.duration(request, "window", usually="7d", most=OBSERVED_DAYS * DAY)
    enforced = await asyncio.to_thread(worker.policies.current)
    now = time.time()
    cohorts = await worker.qualities.of(seconds, split)
    document = QualityDocument(**{
        "model": worker.bundle.id, "window": window, "from": _time(1000 * (now - seconds)), "to": _time(1000 * now),
        "policy_revision": enforced.revision, "cohorts": cohorts,
    })  # fmt: skip
    return as_json(document.model_dump(by_alias=True), headers=NOT_CACHED)


async def _stored(worker: Worker, wanted: set[bytes]) -> None:
    """Wait for the answers of the last few seconds to be stored: they are noted first and written a second later."""
    while True:
        fresh = ids.first_at(time.time() - FRESH_SECONDS)
        wanted = {own for own in wanted if fresh <= own < ids.first_at(time.time() + FRESH_SECONDS)}
        if not wanted or not (wanted := await worker.ask_store(worker.labels.missing, wanted)):
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _items(document: Any, classes: Sequence[str]) -> list[LabelDocument]:
    """The labels of a request. Problem 422 that points at each item which cannot be one; then none is stored."""
    many = isinstance(document, dict) and "items" in document
    try:
        items = LabelsDocument.model_validate(document).items if many else [LabelDocument.model_validate(document)]
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
        raise _impossible(
            [Fault(pointer(*error["loc"]), SAID.get(error["type"], error["msg"])) for error in errors]
        ) from None
    faults = []
    for i, item in enumerate(items):
        at = ("items", i) if many else ()
        if item.label not in classes:
            faults.append(Fault(pointer(*at, "label"), f"unknown class; expected one of {listed(classes)}"))
        if not item.source.isprintable():
            faults.append(Fault(pointer(*at, "source"), "expected printable characters"))
    if faults:
        raise _impossible(faults)
    return items


def _impossible(faults: list[Fault]) -> Problem:
    said = "; ".join(str(fault) for fault in faults[:3])
    more = f"; and {len(faults) - 3:,} more" if len(faults) > 3 else ""
    errors = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults[:MOST_NAMED]]
    return Problem(422, "impossible-feedback", f"nothing of this request is stored: {said}{more}", errors=errors)


def _sample(found: Sample, n: int, design: Design, window: str) -> SampleDocument:
    listed_ids = [ToLabelDocument(id=ids.text(own), time=_time(ids.milliseconds(own)), pending=own not in found.new)
                  for own in found.ids]  # fmt: skip
    return SampleDocument(**{
        "n": n, "design": design, "window": window, "from": _time(ids.milliseconds(found.first)),
        "to": _time(ids.milliseconds(found.last)), "answers": found.population, "new": len(found.new),
        "ids": listed_ids,
    })  # fmt: skip


def _time(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
