"""Counts, names and facts as the words of compare.html."""

from collections.abc import Mapping
from html import escape
from typing import Any


def many(n: int, one: str, more: str = "") -> str:
    """How many there are of what, in the singular or the plural."""
    return f"{n:,} {one if n == 1 else more or one + 's'}"


def breakable(name: str) -> str:
    """A method's name that a narrow column breaks before its dials."""
    return escape(name).replace(":", ":<wbr>").replace("=", "=<wbr>")


def fact(held: Any) -> str:
    """A value of `Comparison.facts` as text, to be escaped."""
    if isinstance(held, Mapping):
        return ", ".join(f"{key} {fact(inner)}" for key, inner in held.items())
    if isinstance(held, (list, tuple)):
        return ", ".join(map(fact, held))
    if isinstance(held, float):
        return f"{held:,.6g}"
    return f"{held:,}" if isinstance(held, int) and not isinstance(held, bool) else str(held)
