"""The files of a multipart body, one after the other as they arrive: no more than one of them is held here."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


@dataclass(slots=True)
class Part:
    """A part of a form: the field it is for, and its bytes; None where there were more than allowed."""

    name: str
    data: bytes | None


async def parts(request: Request, limit: int) -> AsyncIterator[Part]:
    """Each part of a multipart/form-data request; of one with more than `limit` bytes it is only said that it came.

    Problem 415 for a body of another kind, 400 for a malformed one.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Problem(
            415, "unsupported-media-type", f"expected multipart/form-data with files, got {kind.decode('latin-1')!r}"
        )
    if not options.get(b"boundary"):
        raise Problem(400, "malformed-request", "expected multipart/form-data with a boundary")
    reader = _Reader(limit)
    parser = MultipartParser(options[b"boundary"], reader.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            for part in reader.taken():
                yield part
        parser.finalize()
    except FormParserError as error:
        raise Problem(400, "malformed-request", f"expected multipart/form-data with parts: {error}") from None
    if not reader.ended:
        raise Problem(
            400, "malformed-request", "expected multipart/form-data that ends with its boundary, got part of it"
        )


@dataclass(slots=True)
class _Reader:
    """What the parser calls; collects whole parts."""

    limit: int
    ended: bool = False
    _done: list[Part] = field(default_factory=list)
    _data: bytearray = field(default_factory=bytearray)
    _too_large: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _name: str = ""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin, "on_part_data": self._add, "on_part_end": self._end,
            "on_header_field": self._field, "on_header_value": self._of_value, "on_header_end": self._header_end,
            "on_end": self._finish,
        }  # fmt: skip

    def taken(self) -> list[Part]:
        done, self._done = self._done, []
        return done

    def _begin(self) -> None:
        self._data, self._too_large, self._name = bytearray(), False, ""

    def _add(self, data: bytes, start: int, end: int) -> None:
        if len(self._data) + end - start > self.limit:
            self._too_large, self._data = True, bytearray()
        if not self._too_large:
            self._data += data[start:end]

    def _end(self) -> None:
        self._done.append(Part(self._name, None if self._too_large else bytes(self._data)))

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _of_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._header, self._value = bytearray(), bytearray()

    def _finish(self) -> None:
        self.ended = True
