"""The network: one onnxruntime session, on the device that was asked for, warmed up."""

import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from decision import Bundle, InputSpec
from decision.bundle import INPUT_NAME, OUTPUT_NAME
from decision.images import Images
from service.batcher import LARGEST_BATCH
from service.settings import Device

log = logging.getLogger("equipoise")

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search takes half a second for each new shape
    "arena_extend_strategy": "kSameAsRequested",
    "use_tf32": "0",  # thresholds are certified on scores of full precision
}
BUCKETS = tuple(2**k for k in range(LARGEST_BATCH.bit_length()))
"""Sizes that batches are padded to on a GPU, where each new shape is one to plan for and to find memory for."""

Logits = NDArray[np.float32]
"""`(n, classes)`, as the network gives them."""


class NetworkError(ValueError):
    """The network cannot be run here, or not on the device that was asked for."""


class Network:
    """Pixels to logits. Safe to share between threads: onnxruntime lets go of the interpreter while it computes.

    onnxruntime falls back to the CPU without an error, so the provider is read back from the session:
    `cuda` refuses to start on anything else, `auto` says which it took.
    """

    def __init__(self, bundle: Bundle, device: Device, threads: int) -> None:
        spec = bundle.input
        try:
            self._session = _session(str(bundle.network), device, threads)
            self._session.disable_fallback()
            self.provider: str = self._session.get_providers()[0]
            self._padded = Padded(self._session, spec, "cuda") if self.provider == CUDA else None
            for n in BUCKETS if self._padded else (1,):
                self.logits(np.zeros((n, spec.height, spec.width, spec.channels), dtype=np.uint8))
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise NetworkError(f"{bundle.network}: onnxruntime cannot run this network: {error}") from error
        if device == "cuda" and self.provider != CUDA:
            raise NetworkError(
                f"EQUIPOISE_DEVICE=cuda: expected {CUDA}, onnxruntime took {self.provider}; "
                "check the driver and the extra `gpu`, or set EQUIPOISE_DEVICE=auto"
            )
        log.warning("execution provider: %s (EQUIPOISE_DEVICE=%s)", self.provider, device)

    def logits(self, pixels: Images) -> Logits:
        """Logits of at most LARGEST_BATCH images, of any number on a CPU."""
        if self._padded is not None:
            return self._padded.logits(pixels)
        logits: Logits = self._session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
        return logits


class Padded:
    """Runs a session on batches padded to one of BUCKETS, with memory of its own for each thread and size.

    `device`, where inputs lie, is one of onnxruntime's: "cuda" or "cpu".
    """

    def __init__(self, session: onnxruntime.InferenceSession, spec: InputSpec, device: str) -> None:
        self._session, self._device = session, device
        self._shape = (spec.height, spec.width, spec.channels)
        self._own = _Own()

    def logits(self, pixels: Images) -> Logits:
        """Logits of 1 to LARGEST_BATCH images."""
        n = len(pixels)
        bucket = next(size for size in BUCKETS if size >= n)
        bound = self._own.bound.get(bucket) or self._bind(bucket)
        if n < bucket:
            bound.padded[:n] = pixels
        bound.input.update_inplace(pixels if n == bucket else bound.padded)
        self._session.run_with_iobinding(bound.binding)
        logits: Logits = bound.binding.copy_outputs_to_cpu()[0]
        return logits[:n]

    def _bind(self, bucket: int) -> "_Bound":
        shape = (bucket, *self._shape)
        placed = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, self._device)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT_NAME, placed)
        binding.bind_output(OUTPUT_NAME, "cpu")
        bound = self._own.bound[bucket] = _Bound(np.zeros(shape, np.uint8), placed, binding)
        return bound


@dataclass(frozen=True, slots=True, eq=False)
class _Bound:
    """Pixels with what they are padded by, where they lie on the device, and what joins that to a session."""

    padded: Images
    input: Any
    binding: Any


class _Own(threading.local):
    """What a thread keeps for each size."""

    def __init__(self) -> None:
        self.bound: dict[int, _Bound] = {}


def _session(path: str, device: Device, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[object] = [CPU]
    if device != "cpu" and CUDA in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
        providers.insert(0, (CUDA, CUDA_OPTIONS))
    return onnxruntime.InferenceSession(path, options, providers=providers)
