"""The config endpoint: the policy in force, read, previewed, changed, and taken back; each change one revision."""

import asyncio
import time
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from decision import Fault, Policy, PolicyError, parse_policy
from service import body, query
from service.database import StoreError
from service.limits import LARGEST_REVISION, MOST_LISTED
from service.merge_patch import patched
from service.policies import Enforced
from service.preconditions import expected, has_already, stale, tag
from service.preview_schemas import PreviewDocument, preview_summary
from service.problems import Problem
from service.schemas import HistoryDocument, RevisionDocument, Rollback, change_of, in_force
from service.store import Event, StaleError
from service.worker import Worker, as_json, worker_of

USUALLY_LISTED = 20
ASK_AGAIN_SECONDS = 0.05


async def get_config(request: Request) -> Response:
    """The policy in force."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /config")
    query.only(request)
    enforced = await asyncio.to_thread(worker.policies.current)
    if has_already(request, enforced):
        return Response(status_code=304, headers={"ETag": tag(enforced)})
    return _in_force(enforced)


async def put_config(request: Request) -> Response:
    """Replace the policy: in force on every worker of this host before this returns."""
    worker = worker_of(request)
    actor = await worker.access.require(request, "PUT /config")
    before = await expected(request, worker)
    return await _change(request, worker, actor, before, await body.document(request))


async def patch_config(request: Request) -> Response:
    """Change a part of the policy, by a JSON merge patch."""
    worker = worker_of(request)
    actor = await worker.access.require(request, "PATCH /config")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json-patch+json":
        raise Problem(415, "unsupported-media-type", "expected a merge patch (RFC 7396), got a JSON patch (RFC 6902)",
                      headers={"Accept-Patch": "application/merge-patch+json"})  # fmt: skip
    before = await expected(request, worker)
    document = before.policy.document.model_dump(mode="json")
    return await _change(request, worker, actor, before, patched(document, await body.document(request)))


async def rollback_config(request: Request) -> Response:
    """Put an earlier policy in force again, as a new revision. The guard does not stop it: it was in force before."""
    worker = worker_of(request)
    actor = await worker.access.require(request, "POST /config/rollback")
    before = await expected(request, worker)
    number = _revision_asked(await body.document(request))
    found = await worker.ask_store(worker.store.get, number)
    if found is None:
        raise PolicyError(Fault("/revision", f"expected a revision that history has, got {number}"))
    return await _change(request, worker, actor, before, found.policy, event="rollback",
                         default_reason=f"back to revision {number}")  # fmt: skip


async def preview_config(request: Request) -> Response:
    """What a policy would do, beside the one in force: on the holdout, and on the last answers."""
    worker = worker_of(request)
    await worker.access.require(request, "POST /config/preview")
    query.only(request)
    policy = await _compiled(worker, await body.document(request))
    return as_json(await _preview(worker, policy, await asyncio.to_thread(worker.policies.current)))


async def history(request: Request) -> Response:
    """All revisions, newest first."""
    worker = worker_of(request)
    await worker.access.require(request, "GET /config/history")
    query.only(request, "limit", "before")
    limit = query.number(request, "limit", most=MOST_LISTED) or USUALLY_LISTED
    before = query.number(request, "before", most=LARGEST_REVISION)
    found = await worker.ask_store(worker.store.history, limit=limit + 1, before=before)
    listed = [RevisionDocument.model_validate(vars(entry)) for entry in found[:limit]]
    older = f"/config/history?limit={limit}&before={listed[-1].revision}" if len(found) > limit else None
    return as_json(HistoryDocument(revisions=listed, next=older).model_dump(mode="json"))


async def _change(
    request: Request, worker: Worker, actor: str, before: Enforced, document: Any,
    *, event: Event = "change", default_reason: str = "",
) -> Response:  # fmt: skip
    """Compile, preview, ask the guard, store, put in force; a dry run stops before it is stored."""
    query.only(request, "reason", "dry_run", "force")
    reason, forced = query.reason(request) or default_reason, query.switch(request, "force")
    policy = await _compiled(worker, document)
    if query.switch(request, "dry_run"):
        return as_json(await _preview(worker, policy, before) | {"dry_run": True})
    preview = await worker.previews.of(policy, before)
    if preview.objections and event != "rollback" and not forced:
        raise _guarded(preview)
    kept = preview_summary(preview) | {"forced": forced}
    change = change_of(worker.bundle, policy, actor, reason, event, kept)
    try:
        enforced = await worker.ask_store(worker.policies.change, before.revision, policy, change)
    except StaleError:
        raise stale(await asyncio.to_thread(worker.policies.current)) from None
    return await _answered(request, worker, enforced)


async def _compiled(worker: Worker, document: Any) -> Policy:
    return await asyncio.to_thread(worker.policies.compile, parse_policy(document))


async def _preview(worker: Worker, policy: Policy, against: Enforced) -> dict[str, Any]:
    return (await worker.previews.with_answers(policy, against)).model_dump(mode="json", by_alias=True)


async def _answered(request: Request, worker: Worker, enforced: Enforced) -> Response:
    """At once; or as `Prefer: wait` asks, when every live host has it in force, and 202 where one has not in time."""
    seconds = query.wait(request)
    if seconds is None:
        return _in_force(enforced)
    status = 200 if await _everywhere(worker, enforced.revision, seconds) else 202
    return _in_force(enforced, status, {"Preference-Applied": f"wait={seconds:.0f}"})


async def _everywhere(worker: Worker, revision: int, seconds: float) -> bool:
    """Whether every live host decides by a revision before so many seconds are over; False where nobody can tell."""
    deadline = time.monotonic() + seconds
    try:
        await worker.ask_store(worker.policies.acknowledge)
        while await worker.ask_store(worker.policies.behind, revision):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(ASK_AGAIN_SECONDS)
    except StoreError:  # the change is stored and in force here
        return False
    return True


def _guarded(preview: PreviewDocument) -> Problem:
    detail = f"{'; '.join(preview.objections)}; force=true does it all the same"
    return Problem(409, "guarded-change", detail, preview=preview.model_dump(mode="json", by_alias=True))


def _revision_asked(document: Any) -> int:
    try:
        return Rollback.model_validate(document).revision
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        raise PolicyError(Fault("".join(f"/{key}" for key in first["loc"]), f"{first['msg']}, expected "
                                '{"revision": n}')) from None  # fmt: skip


def _in_force(enforced: Enforced, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    document = in_force(enforced.policy, enforced.entry).model_dump(mode="json")
    return as_json(document, status, {"ETag": tag(enforced), "Cache-Control": "no-cache"} | (headers or {}))
