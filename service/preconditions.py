"""Conditional requests to /config (RFC 9110, section 13): the tag of a revision, If-Match and If-None-Match."""

import asyncio

from starlette.requests import Request

from service import query
from service.policies import Enforced
from service.problems import Problem
from service.schemas import in_force
from service.worker import Worker


def tag(enforced: Enforced) -> str:
    """The entity tag of what is in force."""
    return f'"{enforced.revision}"'


def has_already(request: Request, enforced: Enforced) -> bool:
    """Whether If-None-Match names what is in force."""
    named = {name.removeprefix("W/") for name in query.entity_tags(request, "if-none-match")}
    return not named.isdisjoint({tag(enforced), "*"})


async def expected(request: Request, worker: Worker) -> Enforced:
    """What is in force, if If-Match names it: Problem 428 without, 412 when stale."""
    named = query.entity_tags(request, "if-match")
    enforced = await asyncio.to_thread(worker.policies.current)
    if not named:
        detail = f"expected If-Match with the ETag of GET /config, now {tag(enforced)}"
        raise Problem(428, "precondition-required", detail)
    if not {tag(enforced), "*"} & set(named):
        await worker.ask_store(worker.policies.catch_up)  # what names a revision of another host is not stale
        enforced = await asyncio.to_thread(worker.policies.current)
        if tag(enforced) not in named:
            raise stale(enforced, f"If-Match is {', '.join(named)[:200]}")
    return enforced


def stale(enforced: Enforced, came: str = "another change was first") -> Problem:
    """With the document in force, so that a client can merge."""
    return Problem(
        412, "stale-revision", f"{came}, in force is {tag(enforced)} (with the quotes)",
        headers={"ETag": tag(enforced)}, revision=enforced.revision,
        current=in_force(enforced.policy, enforced.entry).model_dump(mode="json"),
    )  # fmt: skip
