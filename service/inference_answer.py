"""An answer of the Open Inference Protocol (version 2, REST), with its binary tensor data extension.

tensors ─▶ JSON, binary ─▶ body
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

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


def _as_binary(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.tobytes()
    return b"".join(part for own in tensor.values for part in (len(own).to_bytes(4, "little"), own))


def _as_json(tensor: Tensor) -> Any:
    if isinstance(tensor.values, np.ndarray):
        return np.ascontiguousarray(tensor.values).reshape(-1)
    return [own.decode() for own in tensor.values]
