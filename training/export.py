"""The network as one ONNX file, and proof that onnxruntime computes what torch does."""

import io

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from decision.bundle import INPUT_NAME, OUTPUT_NAME
from training.errors import ExportError as ExportError
from training.files import Images, Rows, batched, in_chunks
from training.inference import predict
from training.networks import Network

BATCH_SIZES = (1, 3, 17)
EXAMPLES = max(BATCH_SIZES)
TOLERANCE = 1e-4
BATCH = 256


def export_network(network: Network, examples: NDArray[np.uint8]) -> bytes:
    """ONNX bytes of `network`: `image` uint8 NHWC → `logits` float32, dynamic batch, weights inside.

    `examples` `(n, height, width, channels)` give the shape and the images that the check runs on: at
    batch sizes 1, 3 and 17 onnxruntime must agree with torch within 1e-4 of the largest logit. Raises ExportError.
    """
    network = network.cpu().eval()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        network, (torch.from_numpy(examples[:2].copy()),), dynamo=True, verbose=False,
        input_names=[INPUT_NAME], output_names=[OUTPUT_NAME], dynamic_shapes={INPUT_NAME: {0: batch}},
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # they name files of this machine, and would make equal networks differ
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    buffer = io.BytesIO()
    onnx.save_model(model, buffer)
    exported = buffer.getvalue()
    _check(network, exported, examples)
    return exported


def onnx_logits(network: bytes, images: Images, rows: Rows | None = None, *, workers: int = 0) -> NDArray[np.float32]:
    """Logits `(n, classes)` of images (of these `rows`), as the service will compute them: through onnxruntime."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    rows = np.arange(len(images)) if rows is None else rows
    batches = batched(images, in_chunks(rows, BATCH), workers=workers)
    return np.concatenate([session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0] for batch in batches])


def _check(network: Network, exported: bytes, examples: NDArray[np.uint8]) -> None:
    for size in BATCH_SIZES:
        images = np.resize(examples, (size, *examples.shape[1:]))
        expected = predict(network, images, np.arange(size), torch.device("cpu"))
        difference = float(np.abs(onnx_logits(exported, images) - expected).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(f"onnxruntime differs from torch by {difference:.2e} at batch size {size}")
