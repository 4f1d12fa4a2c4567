"""The JSON of an inference request, and what it has to be: each fault is a Problem 400 that says what was expected."""

import gc
from typing import Any

import orjson

from service.problems import Problem


def malformed(detail: str) -> Problem:
    """Problem 400."""
    return Problem(400, "malformed-request", detail)


def loaded(text: memoryview) -> Any:
    """The JSON value of a text; the last of keys that come twice."""
    collects = gc.isenabled()
    gc.disable()  # nothing of it is garbage, and to look for that takes most of the time of a million lists
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise malformed(f"expected a JSON object as body, got {error}") from None
    finally:
        if collects:
            gc.enable()


def instance(kind: type, value: Any, expected: str) -> Any:
    """A value that is of a kind."""
    if not isinstance(value, kind):
        raise malformed(f"expected {expected}, got {'none' if value is None else shown(value)}")
    return value


def parameters_of(document: dict[str, Any]) -> dict[str, Any]:
    """Empty where there are none."""
    found = document.get("parameters")
    parameters: dict[str, Any] = {} if found is None else instance(dict, found, "an object `parameters`")
    return parameters


def flag(parameters: dict[str, Any], name: str, usual: bool = False) -> bool:
    """A parameter that is true or false."""
    value = parameters.get(name, usual)
    if not isinstance(value, bool):
        raise malformed(f"expected {name} to be true or false, got {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list) and not all(isinstance(item, int | float) for item in value[:10]):
        return "a list"
    text = repr(value[:10] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:60]}…"
