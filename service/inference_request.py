"""A request of the Open Inference Protocol (version 2, REST), with its binary tensor data extension.

body ─ header length ─▶ JSON, binary ─▶ tensor of BYTES or UINT8
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference_elements import from_base64, from_binary, from_numbers
from service.inference_json import flag, instance, loaded, malformed, parameters_of, shown
from service.problems import Problem

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_JSON = 4 << 20  # read, lists of lists take thirty times as much


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
        found = from_base64(self.data) if self.binary is None else from_binary(self.binary)
        if len(found) != math.prod(self.shape):
            raise malformed(f"expected {math.prod(self.shape):,} elements for the shape {list(self.shape)}, "
                            f"got {len(found):,}")  # fmt: skip
        return found

    def uint8(self) -> NDArray[np.uint8]:
        """Of UINT8, in its shape: where binary a view, which keeps the body. Problem 400 for other data."""
        size = math.prod(self.shape)
        raw: bytes | memoryview = self.binary if self.binary is not None else from_numbers(self.data, self.shape)
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
    document = instance(dict, loaded(header), "a JSON object as body")
    own = document.get("id")
    if not (own is None or isinstance(own, str)):
        raise malformed(f"expected `id` to be a string, got {shown(own)}")
    given = instance(list, document.get("inputs"), "a list `inputs` with one tensor")
    if len(given) != 1:
        raise malformed(f"expected one input, got {len(given)}")
    usual = flag(parameters_of(document), "binary_data_output")
    return InferenceRequest(own, _given(given[0], binary), _outputs(document.get("outputs"), usual), usual)


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


def _given(document: Any, binary: memoryview) -> Given:
    document = instance(dict, document, "an object as input")
    name = instance(str, document.get("name"), "a string `name` of the input")
    datatype = instance(str, document.get("datatype"), "a string `datatype` of the input")
    shape = instance(list, document.get("shape"), "a list `shape` of the input")
    if not all(type(side) is int and 0 <= side < 1 << 31 for side in shape) or len(shape) > 8:
        raise malformed(f"expected a `shape` of whole numbers from 0, 8 at most, got {shown(shape)}")
    data, size = document.get("data"), parameters_of(document).get("binary_data_size")
    if (data is None) == (size is None):
        both = "both" if size is not None else "neither"
        raise malformed(f"expected `data` or `parameters.binary_data_size` of the input, got {both}")
    if size is None and len(binary):
        raise malformed(f"expected nothing after the JSON, got {len(binary):,} bytes that no input has")
    if size is not None and (type(size) is not int or size != len(binary)):
        raise malformed(f"expected `binary_data_size` {len(binary):,}, what follows the JSON, got {shown(size)}")
    return Given(name, datatype, tuple(shape), data, None if size is None else binary)


def _outputs(wanted: Any, usual: bool) -> dict[str, bool] | None:
    found: dict[str, bool] = {}
    for output in [] if wanted is None else instance(list, wanted, "a list `outputs`"):
        name = instance(str, instance(dict, output, "an object as output").get("name"), "a string `name` of the output")
        parameters = parameters_of(output)
        if others := parameters.keys() - {"binary_data"}:
            raise malformed(f"expected no parameter of an output but binary_data, got {min(others)[:40]!r}")
        if name in found:
            raise malformed(f"expected each output once, got {name[:40]!r} twice")
        found[name] = flag(parameters, "binary_data", usual)
    return found or None
