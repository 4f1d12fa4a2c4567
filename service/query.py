"""What a request's URL and headers ask for, read strictly: a misspelled `dry_run` must not put a policy in force."""

import re

from starlette.requests import Request

from service.limits import LONGEST_WAIT
from service.problems import Problem

LONGEST_REASON = 500


def only(request: Request, *names: str) -> None:
    """Problem 400 for a query parameter of another name."""
    if unknown := [name for name in request.query_params if name not in names]:
        expected = f"no query parameter but {', '.join(names)}" if names else "no query parameter"
        raise Problem(400, "malformed-request", f"expected {expected}, got {unknown[0]!r}")


def switch(request: Request, name: str) -> bool:
    """true or false; false where it is not given."""
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Problem(400, "malformed-request", f"expected {name}=true or {name}=false, got {text!r}")
    return text in ("true", "1")


def number(request: Request, name: str, *, most: int) -> int | None:
    """A whole number from 1 to `most`; None where it is not given."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and 1 <= int(text) <= most):
        raise Problem(400, "malformed-request", f"expected {name} from 1 to {most}, got {text[:40]!r}")
    return int(text)


def choice(request: Request, name: str, *expected: str) -> str | None:
    """One of a few words; None where it is not given."""
    text = request.query_params.get(name)
    if text is not None and text not in expected:
        raise Problem(400, "malformed-request", f"expected {name} to be {' or '.join(expected)}, got {text[:40]!r}")
    return text


def duration(request: Request, name: str, *, usually: str, most: int) -> tuple[str, int]:
    """A time like 90s, 30m, 24h or 7d, as it was given, and in seconds: `most` at most."""
    text = request.query_params.get(name, usually)
    match = re.fullmatch(r"([1-9][0-9]{0,7})([smhd])", text)
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}[match[2]] if match else 0
    if not 0 < seconds <= most:
        longest = f"{most // (24 * 3600)}d"
        raise Problem(400, "malformed-request", f"expected {name} like 30m, 24h or 7d, {longest} at most, "
                      f"got {text[:40]!r}")  # fmt: skip
    return text, seconds


def reason(request: Request) -> str:
    """Why the policy is changed."""
    text = request.query_params.get("reason", "")
    if len(text) > LONGEST_REASON or not text.isprintable():
        raise Problem(400, "malformed-request", f"expected a reason of at most {LONGEST_REASON} printable characters")
    return text


def wait(request: Request) -> float | None:
    """Seconds of `Prefer: wait=5` (RFC 7240), 30 at most; None without. What is malformed is no preference."""
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        if match := re.fullmatch(r"\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(;.*)?", preference, re.IGNORECASE):
            return min(float(match[1]), LONGEST_WAIT)
    return None


def entity_tags(request: Request, header: str) -> list[str]:
    """The tags of If-Match or If-None-Match."""
    return [tag.strip() for tag in ",".join(request.headers.getlist(header)).split(",") if tag.strip()]
