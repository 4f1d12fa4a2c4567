"""The wire format of the Open Inference Protocol (version 2, REST) with its binary tensor data extension.

body ─ header length ─▶ JSON, binary ─▶ tensor of BYTES or UINT8        tensors ─▶ JSON, binary ─▶ body
"""

import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from service.problems import Problem

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_JSON = 16 << 20
Datatype = Literal["BYTES", "UINT8", "BOOL", "FP64"]
Values: TypeAlias = Sequence[bytes] | NDArray[Any]
"""The elements of a tensor: BYTES one after the other, others an array of the tensor's shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor that is sent: one of BYTES is said as text in JSON."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An input as it came: its data are not read before its shape is known to be one that the model takes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any
    binary: memoryview | None

    def bytes_elements(self) -> list[bytes]:
        """Of BYTES: base64 in JSON, each after its length where binary. Problem 400 unless as many as the shape has."""
        found = _from_base64(self.data) if self.binary is None else _from_binary(self.binary)
        if len(found) != math.prod(self.shape):
            raise malformed(f"expected {math.prod(self.shape):,} elements for the shape {list(self.shape)}, "
                            f"got {len(found):,}")  # fmt: skip
        return found

    def uint8(self) -> NDArray[np.uint8]:
        """Of UINT8, in its shape: not copied where binary. Problem 400 for other data."""
        size = math.prod(self.shape)
        raw: bytes | memoryview = self.binary if self.binary is not None else _from_numbers(self.data, self.shape)
        if len(raw) != size:
            raise malformed(f"expected {size:,} bytes for the shape {list(self.shape)}, got {len(raw):,}")
        return np.frombuffer(raw, np.uint8).reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class InferenceRequest:
    """What an inference request holds; `outputs` names those asked for, and whether as binary data: None for all."""

    id: str | None
    input: Given
    outputs: Mapping[str, bool] | None
    binary: bool


def request_of(body: bytes, header_length: str | None) -> InferenceRequest:
    """An inference request with one input, from a body whose JSON part has so many bytes: None for all.

    Raises Problem 400 for a malformed one, 413 for more JSON than is read.
    """
    header, binary = _parts(body, header_length)
    document = _of(dict, _document(header), "a JSON object as body")
    own = document.get("id")
    if not (own is None or isinstance(own, str)):
        raise malformed(f"expected `id` to be a string, got {_shown(own)}")
    given = _of(list, document.get("inputs"), "a list `inputs` with one tensor")
    if len(given) != 1:
        raise malformed(f"expected one input, got {len(given)}")
    return InferenceRequest(
        own, _given(given[0], binary), _outputs(document), _flag(_parameters(document), "binary_data_output")
    )


def answer_of(
    known: Mapping[str, Any], tensors: Sequence[Tensor], binary: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    """A response body, and the length of its JSON part where binary data follow it; `binary` says which do."""
    outputs, tails = [], []
    for tensor in tensors:
        said: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary[tensor.name]:
            tails.append(_as_binary(tensor))
            said["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            said["data"] = _as_json(tensor)
        outputs.append(said)
    header = orjson.dumps({**known, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([header, *tails]), len(header)) if tails else (header, None)


def malformed(detail: str) -> Problem:
    """Problem 400."""
    return Problem(400, "malformed-request", detail)


def _parts(body: bytes, header_length: str | None) -> tuple[memoryview, memoryview]:
    length = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
            raise malformed(f"expected a whole number in {HEADER_LENGTH}, got {header_length[:40]!r}")
        length = int(header_length)
        if not 0 < length <= len(body):
            raise malformed(f"expected {HEADER_LENGTH} from 1 to {len(body):,}, the length of the body, got {length:,}")
    if length > MOST_JSON:
        detail = f"expected at most {MOST_JSON:,} bytes of JSON, got more: send tensors as binary data"
        raise Problem(413, "body-too-large", detail)
    whole = memoryview(body)
    return whole[:length], whole[length:]


def _document(header: memoryview) -> Any:
    try:
        return orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise malformed(f"expected a JSON object as body, got {error}") from None


def _given(document: Any, binary: memoryview) -> Given:
    document = _of(dict, document, "an object as input")
    name = _of(str, document.get("name"), "a string `name` of the input")
    datatype = _of(str, document.get("datatype"), "a string `datatype` of the input")
    shape = _of(list, document.get("shape"), "a list `shape` of the input")
    if not all(type(side) is int and 0 <= side < 1 << 31 for side in shape) or len(shape) > 8:
        raise malformed(f"expected a `shape` of whole numbers from 0, 8 at most, got {_shown(shape)}")
    data, size = document.get("data"), _parameters(document).get("binary_data_size")
    if (data is None) == (size is None):
        both = "both" if size is not None else "neither"
        raise malformed(f"expected `data` or `parameters.binary_data_size` of the input, got {both}")
    if size is None and len(binary):
        raise malformed(f"expected nothing after the JSON, got {len(binary):,} bytes that no input has")
    if size is not None and (type(size) is not int or size != len(binary)):
        raise malformed(f"expected `binary_data_size` {len(binary):,}, what follows the JSON, got {_shown(size)}")
    return Given(name, datatype, tuple(shape), data, None if size is None else binary)


def _outputs(document: dict[str, Any]) -> dict[str, bool] | None:
    wanted = document.get("outputs")
    if not wanted:
        return None
    usual = _flag(_parameters(document), "binary_data_output")
    found: dict[str, bool] = {}
    for output in _of(list, wanted, "a list `outputs`"):
        name = _of(str, _of(dict, output, "an object as output").get("name"), "a string `name` of the output")
        parameters = _parameters(output)
        if others := parameters.keys() - {"binary_data"}:
            raise malformed(f"expected no parameter of an output but binary_data, got {min(others)[:40]!r}")
        if name in found:
            raise malformed(f"expected each output once, got {name[:40]!r} twice")
        found[name] = _flag(parameters, "binary_data", usual)
    return found


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    found = document.get("parameters")
    parameters: dict[str, Any] = {} if found is None else _of(dict, found, "an object `parameters`")
    return parameters


def _flag(parameters: dict[str, Any], name: str, usual: bool = False) -> bool:
    value = parameters.get(name, usual)
    if not isinstance(value, bool):
        raise malformed(f"expected {name} to be true or false, got {_shown(value)}")
    return value


def _of(kind: type, value: Any, expected: str) -> Any:
    if not isinstance(value, kind):
        raise malformed(f"expected {expected}, got {'none' if value is None else _shown(value)}")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list) and not all(isinstance(item, int | float) for item in value[:10]):
        return "a list"
    text = repr(value[:10] if isinstance(value, list) else value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _from_base64(data: Any) -> list[bytes]:
    found = []
    for i, text in enumerate(_of(list, data, "a list of base64 strings as `data` of BYTES")):
        try:
            found.append(binascii.a2b_base64(_of(str, text, f"base64 text as element {i}"), strict_mode=True))
        except ValueError as error:
            raise malformed(f"expected base64 text as element {i}, got {str(error).lower()}") from None
    return found


def _from_binary(data: memoryview) -> list[bytes]:
    found, at = list[bytes](), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data) or at + 4 > len(data):
            raise malformed(f"expected 4 bytes of length and as many bytes as that for element {len(found)}, "
                            f"got {len(data) - at:,} bytes that end before it")  # fmt: skip
        found.append(bytes(data[at + 4 : end]))
        at = end
    return found


def _from_numbers(data: Any, shape: tuple[int, ...]) -> bytes:
    """Of a flat list, or of lists in lists as the shape has them."""
    given = _of(list, data, "a list of numbers as `data` of UINT8")
    if given and isinstance(given[0], list):
        return b"".join(_rows(given, shape))
    return _numbers(given)


def _rows(data: list[Any], shape: tuple[int, ...]) -> list[bytes]:
    if not (shape and isinstance(data, list) and len(data) == shape[0]):
        got = f"{len(data)} in a list" if isinstance(data, list) else _shown(data)
        raise malformed(f"expected lists in lists as the shape has them, or one flat list, got {got}")
    if len(shape) == 1:
        return [_numbers(data)]
    return [row for inner in data for row in _rows(inner, shape[1:])]


def _numbers(data: list[Any]) -> bytes:
    try:
        return bytes(data)
    except (TypeError, ValueError):
        raise malformed("expected whole numbers from 0 to 255 as `data` of UINT8, got others") from None


def _as_binary(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.tobytes()
    return b"".join(part for own in tensor.values for part in (len(own).to_bytes(4, "little"), own))


def _as_json(tensor: Tensor) -> Any:
    if isinstance(tensor.values, np.ndarray):
        return np.ascontiguousarray(tensor.values).reshape(-1)
    return [own.decode() for own in tensor.values]
