"""What `python -m service policy` prints: policies, previews, history and problems as lines of text."""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from decision.errors import pointer

WIDTH = 100
MOST_LISTED = 10
NAME_LEAST = 6
_COLOURS = {"▲": "\x1b[36m", "▼": "\x1b[33m"}  # cyan and yellow: more is not always better
_PLAIN = "\x1b[0m"


def as_printed(lines: Iterable[str], *, colour: bool) -> str:
    """The lines with control characters escaped; with `colour`, the marks coloured."""
    text = "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines)
    if colour:
        return re.sub(r"([▲▼]) [+-][\d.e+-]+", lambda found: f"{_COLOURS[found[1]]}{found[0]}{_PLAIN}", text)
    return text


def document_text(policy: Any) -> str:
    """A policy document."""
    return json.dumps(policy, indent=2, ensure_ascii=False)


def in_force_lines(found: dict[str, Any]) -> Iterator[str]:
    """The answer of GET /config."""
    yield f"revision {found['revision']}, since {_time(found['time'])}, by {found['actor']} ({found['event']})"
    if found["reason"]:
        yield f"reason: {found['reason']}"
    yield from ["", *document_text(found["policy"]).split("\n")]
    if found["thresholds"]:
        yield ""
        yield from table([["class", "threshold"], *([name, f"{t:.4g}"] for name, t in found["thresholds"].items())])
    yield from certificate_lines(found)


def changed_lines(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """What a change made of the policy, as two answers of GET /config."""
    yield f"revision {after['revision']} takes the place of revision {before['revision']}"
    old, new = _leaves(before["policy"]), _leaves(after["policy"])
    changes = [f"  {place}: {old.get(place, 'nothing')} → {new.get(place, 'nothing')}"
               for place in dict.fromkeys([*old, *new]) if old.get(place) != new.get(place)]  # fmt: skip
    yield from at_most_ten(changes or ["  the same policy"])
    yield from certificate_lines(after)


def history_lines(found: dict[str, Any]) -> Iterator[str]:
    """A page of history."""
    rows = [["revision", "time", "actor", "event", "changed", "reason"]]
    for entry in found["revisions"]:
        share = entry["preview"] and entry["preview"]["changed"]["value"]
        rows.append([str(entry["revision"]), _time(entry["time"]), entry["actor"], entry["event"],
                     "" if share is None else f"{share:.1%}", entry["reason"]])  # fmt: skip
    yield from table(rows, width=None)
    if found["next"] and found["revisions"]:
        yield f"older ones: --before {found['revisions'][-1]['revision']}"


def problem_lines(status: int, problem: dict[str, Any]) -> Iterator[str]:
    """What the service says is wrong, and what to do."""
    if status == 409:
        yield from objection_lines(problem["preview"]["objections"])
    elif status == 412:
        current = problem["current"]
        who = f"by {current['actor']}, {_time(current['time'])}"
        yield f"somebody was first: in force is revision {current['revision']}, {who}"
        yield from [f"reason: {current['reason']}"] if current["reason"] else []
    elif errors := problem.get("errors"):
        yield f"{problem['title']}:"
        yield from (f"  {error['pointer'] or 'document'}: {error['detail']}" for error in errors)
    else:
        yield problem["detail"]
    if status == 401:
        yield "EQUIPOISE_TOKEN or --token-file gives one"


def objection_lines(said: list[str]) -> list[str]:
    """What the guard says against a change."""
    return ["the guard stops this change, unless --force:", *(f"  {objection}" for objection in said)]


def certificate_lines(found: dict[str, Any]) -> Iterator[str]:
    """The statements of what has certificates."""
    if found["certificates"]:
        yield ""
    for certificate in found["certificates"]:
        yield from textwrap.wrap(certificate["statement"], WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _leaves(value: Any, *keys: str) -> dict[str, str]:
    """What a document says, by JSON pointer; null says nothing."""
    if isinstance(value, dict) and value:
        return {place: leaf for key, part in value.items() for place, leaf in _leaves(part, *keys, key).items()}
    return {} if value is None else {pointer(*keys): json.dumps(value, ensure_ascii=False)}


def at_most_ten(lines: list[str]) -> list[str]:
    """The first ten, and how many there are besides."""
    more = len(lines) - MOST_LISTED
    return lines if more <= 0 else [*lines[:MOST_LISTED], f"  and {more} more"]


def table(rows: Sequence[Sequence[str]], width: int | None = WIDTH) -> Iterator[str]:
    """Columns side by side; the first gives way where they would be wider than `width`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        widths[0] = min(widths[0], max(NAME_LEAST, width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    for name, *others in rows:
        cells = [_shortened(name, widths[0]), *others]
        yield "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()


def _shortened(name: str, width: int) -> str:
    """Without its middle, where it is longer: long names often differ at the end."""
    tail = width // 2
    return name if len(name) <= width else f"{name[: width - tail - 1]}…{name[-tail:]}"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%F %TZ}"
