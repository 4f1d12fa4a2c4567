"""A preview as `python -m service policy` prints it: a table of classes, and what else would change."""

from collections.abc import Iterator
from typing import Any

from service.policy_text import at_most_ten, certificate_lines, objection_lines, table

FIGURES = {"recall": 0, "precision": 0, "label_share": 1, "flagged_share": 1}
"""The columns of a preview, and the decimals of their percentages."""


def preview_lines(found: dict[str, Any], top: int | None = None) -> Iterator[str]:
    """A preview; of its classes those that may be flagged and the `top` ones that change most, all without."""
    names = list(found["images"])
    most = sorted(names, key=lambda name: -_most(found, name))[:top]
    listed = [name for name in names if name in most or name in found["figures"]["flagged_share"]]
    images = sum(found["images"].values())
    yield f"beside revision {found['revision']}, from {images:,.0f} test images (related ones count as one)"
    yield "in % with 95% intervals; second lines: the difference, ▲ or ▼ where its interval excludes 0"
    yield ""
    columns = [f for f in FIGURES if any(found[part][f] for part in ("figures", "against"))]
    head = ["class", "images", "prior", *(column.replace("_", " ") for column in columns)]
    yield from table([head, *(row for name in listed for row in _class_rows(found, name, columns))])
    if len(listed) < len(names):
        yield f"{len(listed)} of {len(names)} classes: those that may be flagged, and those that change most"
    yield ""
    ours, change = found["figures"], found["difference"]
    yield from table([
        ["abstention", _percent(ours["abstention"], 1) + " %", _change(change["abstention"])],
        ["expected cost", _interval(ours["cost"], 1.0, ".3g"), _marked(change["cost"], 1.0, ".2g")],
        ["changed labels", _percent(found["changed"], 1) + " %", ""],
    ])  # fmt: skip
    yield from at_most_ten([f"  {100 * move['share']:5.1f} %  {_move(move)}" for move in found["moves"]])
    yield from _replayed(found["answers"])
    yield from certificate_lines(found)
    yield ""
    yield from objection_lines(found["objections"]) if found["objections"] else ["the guard has no objection"]


def _class_rows(found: dict[str, Any], name: str, columns: list[str]) -> list[list[str]]:
    """The figures of a class, and below them the differences, if any."""
    own = [name, f"{found['images'][name]:,.0f}", f"{100 * found['deployment_priors'][name]:.3g}"]
    moved = ["", "", ""]
    for column in columns:
        ours, theirs, change = (found[part][column].get(name) for part in ("figures", "against", "difference"))
        own.append("" if ours is None else _percent(ours, FIGURES[column]))
        moved.append(_change(change) or _appeared(ours, theirs, FIGURES[column]))
    return [own, moved] if any(moved) else [own]


def _appeared(ours: dict[str, Any] | None, theirs: dict[str, Any] | None, decimals: int) -> str:
    """For a figure that only one of the policies has."""
    before, now = (None if figure is None else figure["value"] for figure in (theirs, ours))
    if (before is None) == (now is None):
        return ""
    return "  was none" if before is None else f"  was {100 * before:.{decimals}f}"


def _change(figure: dict[str, Any] | None) -> str:
    """Of a share, in percent."""
    return _marked(figure, 100.0, ".1f" if figure and abs(figure["value"] or 0.0) >= 0.0005 else ".2g")


def _marked(figure: dict[str, Any] | None, scale: float, form: str) -> str:
    if figure is None or not figure["value"]:
        return ""
    mark = "▲" if figure["low"] > 0 else "▼" if figure["high"] < 0 else " "
    return f"{mark} {scale * figure['value']:+{form}}"


def _most(found: dict[str, Any], name: str) -> float:
    changes = (found["difference"][column].get(name) for column in FIGURES)
    return max(abs(change["value"] or 0.0) if change else 0.0 for change in changes)


def _replayed(answers: dict[str, Any] | None) -> Iterator[str]:
    """The same question to the answers that were given, where there were any that the service could ask."""
    if answers is None:
        return
    yield ""
    yield f"of the last {answers['n']:,} answers, {_percent(answers['changed'], 1)} % would get another label"
    yield from at_most_ten([f"  {move['count']:7,}  {_move(move)}" for move in answers["moves"]])


def _move(move: dict[str, Any]) -> str:
    before, after = ("none" if label is None else label for label in (move["from"], move["to"]))
    return f"{before} → {after}"


def _percent(figure: dict[str, Any], decimals: int) -> str:
    return _interval(figure, 100.0, f".{decimals}f")


def _interval(figure: dict[str, Any], scale: float, form: str) -> str:
    value = "–" if figure["value"] is None else format(scale * figure["value"], form)
    return f"{value} [{scale * figure['low']:{form}}, {scale * figure['high']:{form}}]"
