"""The images of one inference request, and the outputs that this model gives of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from decision import Bundle, ImageError
from decision.bundle import INPUT_NAME
from decision.images import Images, Pixels
from service.asked import Decided
from service.inference_answer import Datatype, Tensor, Values, answer_of
from service.inference_json import malformed
from service.inference_request import request_of
from service.limits import MOST_TENSOR_IMAGES
from service.problems import Problem


class Output(NamedTuple):
    """An output of n images: per class where `wide`, else one value for each."""

    datatype: Datatype
    wide: bool
    values: Callable[[Decided, slice], Values]


# FP64: what a threshold is compared with, so that a client who compares again finds the same labels and flags.
OUTPUTS: Mapping[str, Output] = {
    "probabilities": Output("FP64", True, lambda decided, rows: decided.decisions.probabilities[rows]),
    "label": Output("BYTES", False, lambda decided, rows: _labels(decided, rows)),
    "abstained": Output("BOOL", False, lambda decided, rows: decided.decisions.labels[rows] < 0),
    "flags": Output("BOOL", True, lambda decided, rows: decided.decisions.flags[rows]),
    "id": Output("BYTES", False, lambda decided, rows: [own.encode() for own in decided.ids[rows]]),
}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The images of one inference request, encoded or as a tensor; `outputs` says which it wants, and which binary."""

    n: int
    encoded: Sequence[bytes]
    tensor: Images | None
    id: str | None
    outputs: Mapping[str, bool]
    bundle: Bundle

    def images(self, decoded: Iterator[Pixels | ImageError]) -> Images:
        if self.tensor is not None:
            return self.tensor
        found: list[Pixels] = []
        # All of this request's are taken before one of them raises: what is left are the next request's.
        for i, pixels in enumerate(list(islice(decoded, self.n))):
            if isinstance(pixels, ImageError):
                raise type(pixels)(f"image {i}: {pixels}")
            found.append(pixels)
        return np.stack(found)

    def said(self, decided: Decided, first: int) -> tuple[bytes, int | None]:
        """The response's body, and the length of its JSON part where binary data follow it."""
        manifest, rows = self.bundle.manifest, slice(first, first + self.n)
        known = {"model_name": manifest.name, "model_version": manifest.version}
        known |= {} if self.id is None else {"id": self.id}
        parameters = {"policy_revision": decided.revision, "model": decided.model}
        tensors = []
        for name in self.outputs:
            output = OUTPUTS[name]
            shape = (self.n, len(decided.policy.classes)) if output.wide else (self.n,)
            tensors.append(Tensor(name, output.datatype, shape, output.values(decided, rows)))
        return answer_of({**known, "parameters": parameters}, tensors, self.outputs)


def group_of(data: bytes, header_length: str | None, bundle: Bundle, most_bytes: int) -> Group:
    """What a body asks of this model; Problem 400 or 413 for what it does not take or give."""
    asked = request_of(data, header_length)
    given, spec = asked.input, bundle.input
    if given.name != INPUT_NAME:
        raise malformed(f"expected the input {INPUT_NAME!r}, got {given.name[:40]!r}")
    shapes = {"BYTES": (), "UINT8": (spec.height, spec.width, spec.channels)}
    if given.datatype not in shapes:
        raise malformed(f"expected the datatype UINT8 or BYTES, got {given.datatype[:40]!r}")
    one = shapes[given.datatype]
    if len(given.shape) != 1 + len(one) or given.shape[1:] != one or not given.shape[0]:
        expected = ", ".join(map(str, ("n", *one)))
        raise malformed(f"expected the shape [{expected}] of {given.datatype}, n from 1, got {list(given.shape)}")
    n = given.shape[0]
    if n > MOST_TENSOR_IMAGES:
        raise Problem(413, "body-too-large", f"expected at most {MOST_TENSOR_IMAGES} images in a request, got {n:,}")
    if unknown := [name for name in asked.outputs or () if name not in OUTPUTS]:
        raise malformed(f"expected outputs out of {', '.join(OUTPUTS)}, got {unknown[0][:40]!r}")
    outputs = asked.outputs or dict.fromkeys(OUTPUTS, asked.binary)
    if given.datatype == "UINT8":
        return Group(n, (), given.uint8(), asked.id, outputs, bundle)
    encoded = given.bytes_elements()
    for i, image in enumerate(encoded):
        if not image:
            raise malformed(f"image {i}: expected an encoded image, got no bytes")
        if len(image) > most_bytes:
            raise Problem(413, "image-too-large",
                          f"image {i}: expected at most {most_bytes:,} bytes, got {len(image):,}")  # fmt: skip
    return Group(n, encoded, None, asked.id, outputs, bundle)


def _labels(decided: Decided, rows: slice) -> list[bytes]:
    """Empty where abstained."""
    return [(decided.policy.label(label) or "").encode() for label in decided.decisions.labels[rows].tolist()]
