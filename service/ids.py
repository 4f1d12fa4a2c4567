"""Ids of answers, UUIDs of version 7 (RFC 9562): when an answer was given, and its own random number."""

import re
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
RANDOM = slice(9, 14)
"""Bytes whose 40 bits are random, but for those two at the end by which old answers are thinned out."""


def parsed(text: str) -> bytes | None:
    """The 16 bytes of an id; None for what cannot be one."""
    return UUID(text).bytes if _FORM.fullmatch(text) else None


def of(text: str) -> bytes:
    """The 16 bytes of an id that an answer has."""
    return bytes.fromhex(text.replace("-", ""))


def text(own: bytes) -> str:
    """An id as an answer says it."""
    return str(UUID(bytes=own))


def milliseconds(own: bytes) -> int:
    """When it was made, since the epoch."""
    return int.from_bytes(own[:6])


def first_at(seconds: float) -> bytes:
    """The lowest id of a Unix time."""
    return (max(0, int(1000 * seconds)) << 80).to_bytes(16)


def random_numbers(ids: list[bytes]) -> NDArray[np.float64]:
    """u `(n,)` in [0, 1): uniform, each id's own for good, independent of all that is known of its answer."""
    digits = np.frombuffer(b"".join(ids), np.uint8).reshape(len(ids), 16)[:, RANDOM]
    return digits @ 256.0 ** -np.arange(1, 6)
