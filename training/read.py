"""Values as the command line writes them. Each raises DataError with what was expected and what came."""

import math
import re

from training.errors import DataError
from training.imbalance import Imbalance


def imbalance(text: str) -> Imbalance | str:
    """A shape, or `none`."""
    return text if text == "none" else Imbalance.parse(text)


def size(text: str) -> tuple[int, int]:
    """`64x48`: height and width."""
    if not (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise DataError(f"expected a size like 64x48 (height x width), got {text!r}")
    return int(match[1]), int(match[2])


def target(text: str) -> tuple[str, float]:
    """`crack=0.95`: a class and its recall."""
    name, equals, recall = text.rpartition("=")
    if not equals or not name:
        raise DataError(f"expected a class and its recall like crack=0.95, got {text!r}")
    return name, between(recall)


def class_weight(text: str) -> tuple[str, float]:
    """`dog=5`: a class and its weight."""
    name, equals, weight = text.rpartition("=")
    if not equals or not name:
        raise DataError(f"expected a class and its weight like dog=5, got {text!r}")
    return name, not_negative(weight)


def count(text: str) -> int:
    """1, 2, …"""
    if (number := _whole(text)) < 1:
        raise DataError(f"expected a whole number of at least 1, got {text!r}")
    return number


def not_negative_count(text: str) -> int:
    """0, 1, …"""
    if (number := _whole(text)) < 0:
        raise DataError(f"expected a whole number of at least 0, got {text!r}")
    return number


def seed(text: str) -> int:
    """0 to 2³² − 1, which every library takes."""
    if not 0 <= (number := _whole(text)) < 2**32:
        raise DataError(f"expected a whole number of at least 0, below 2³², got {text!r}")
    return number


def share(text: str) -> float:
    """From 0 to below 0.5."""
    if not 0 <= (number := _number(text)) < 0.5:
        raise DataError(f"expected a share from 0 to below 0.5, got {text!r}")
    return number


def between(text: str) -> float:
    """Between 0 and 1."""
    if not 0 < (number := _number(text)) < 1:
        raise DataError(f"expected a number between 0 and 1, got {text!r}")
    return number


def not_negative(text: str) -> float:
    """At least 0, and finite."""
    if not 0 <= (number := _number(text)) < math.inf:
        raise DataError(f"expected a number of at least 0, got {text!r}")
    return number


def positive(text: str) -> float:
    """Above 0, and finite."""
    if not 0 < (number := _number(text)) < math.inf:
        raise DataError(f"expected a number above 0, got {text!r}")
    return number


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
