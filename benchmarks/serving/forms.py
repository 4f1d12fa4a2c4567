"""How servers take an image and give an answer: requests whose bytes are made before any clock starts."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BOUNDARY = "equipoise-benchmark"
INFER = "/v2/models/network/infer"


@dataclass(frozen=True)
class Request:
    """A POST."""

    path: str
    kind: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self, host: str) -> bytes:
        """HTTP/1.1, to be kept alive."""
        headers = {"Host": host, "Content-Type": self.kind, "Content-Length": str(len(self.body))} | dict(self.headers)
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def raw(image: bytes) -> Request:
    """The image as the body."""
    return Request("/predict", "image/png", image)


def multipart(image: bytes) -> Request:
    """The image as the field `image` of a form."""
    return Request("/predict", *_form("image", [image]))


def many(images: Sequence[bytes]) -> Request:
    """Images as the fields `images` of a form."""
    return Request("/predict/batch", *_form("images", images))


def base64_tensor(image: bytes) -> Request:
    """Open Inference Protocol, all in JSON."""
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"},
              "data": [base64.b64encode(image).decode()]}  # fmt: skip
    return Request(INFER, "application/json", json.dumps({"inputs": [tensor]}).encode())


def bytes_tensor(image: bytes) -> Request:
    """Open Inference Protocol with the binary extension, which the answer uses too."""
    answer = {"name": "answer", "parameters": {"binary_data": True}}
    return _binary(INFER, [1], "BYTES", struct.pack("<I", len(image)) + image, {"outputs": [answer]})


def pixel_tensor(path: str, shape: Sequence[int], pixels: bytes) -> Request:
    """Decoded images in the binary extension; the answer in JSON."""
    return _binary(path, shape, "UINT8", pixels, {})


def of_object(answer: bytes) -> dict[str, float]:
    """The probabilities in an answer that is the object itself."""
    found: dict[str, float] = json.loads(answer)["probabilities"]
    return found


def of_string_tensor(answer: bytes) -> dict[str, float]:
    """The probabilities in an object that is the one string of a tensor."""
    return of_object(json.loads(answer)["outputs"][0]["data"][0].encode())


def of_binary_tensor(answer: bytes) -> dict[str, float]:
    """The same where the tensor lies behind the JSON."""
    return of_object(answer[answer.index(b'{"label"') :])


def _form(field_name: str, images: Sequence[bytes]) -> tuple[str, bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field_name}"; filename="x.png"\r\n' \
           "Content-Type: image/png\r\n\r\n"  # fmt: skip
    parts = [head.encode() + image + b"\r\n" for image in images]
    return f"multipart/form-data; boundary={BOUNDARY}", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _binary(path: str, shape: Sequence[int], kind: str, data: bytes, more: Mapping[str, object]) -> Request:
    tensor = {"name": "image", "shape": list(shape), "datatype": kind, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]} | dict(more)).encode()
    return Request(path, "application/octet-stream", head + data, {"Inference-Header-Content-Length": str(len(head))})
