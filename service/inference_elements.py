"""The elements of a tensor that was sent: bytes as base64 or after their lengths, whole numbers in lists."""

import binascii
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from service.inference_json import instance, malformed, shown

AT_ONCE = 1 << 16  # numbers: other threads wait for about a millisecond


def from_base64(data: Any) -> list[bytes]:
    """Of BYTES in JSON."""
    found = []
    for i, text in enumerate(instance(list, data, "a list of base64 strings as `data` of BYTES")):
        try:
            found.append(binascii.a2b_base64(instance(str, text, f"base64 text as element {i}"), strict_mode=True))
        except ValueError as error:
            raise malformed(f"expected base64 text as element {i}, got {str(error).lower()}") from None
    return found


def from_binary(data: memoryview) -> list[bytes]:
    """Of BYTES after the JSON, each after its length; copied."""
    found, at = list[bytes](), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data) or at + 4 > len(data):
            raise malformed(f"expected 4 bytes of length and as many bytes as that for element {len(found)}, "
                            f"got {len(data) - at:,} bytes that end before it")  # fmt: skip
        found.append(bytes(data[at + 4 : end]))
        at = end
    return found


def from_numbers(data: Any, shape: Sequence[int]) -> bytes:
    """Of UINT8 in JSON: a flat list, or lists in lists as the shape has them."""
    given = instance(list, data, "a list of numbers as `data` of UINT8")
    numbers = chain.from_iterable(_rows(given, shape) if given and isinstance(given[0], list) else [given])
    found = bytearray()
    while some := list(islice(numbers, AT_ONCE)):
        found += _bytes(some)
    return bytes(found)


def _bytes(numbers: list[Any]) -> bytes:
    if set(map(type, numbers)) == {int}:  # true and false would be 1 and 0
        with suppress(ValueError):
            return bytes(numbers)
    raise malformed("expected whole numbers from 0 to 255 as `data` of UINT8, got others")


def _rows(data: Any, shape: Sequence[int]) -> list[list[Any]]:
    """The innermost lists, in order."""
    if not (shape and isinstance(data, list) and len(data) == shape[0]):
        got = f"{len(data)} in a list" if isinstance(data, list) else shown(data)
        raise malformed(f"expected lists in lists as the shape has them, or one flat list, got {got}")
    if len(shape) == 1:
        return [data]
    return [row for inner in data for row in _rows(inner, shape[1:])]
