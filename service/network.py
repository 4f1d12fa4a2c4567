"""The network: one onnxruntime session, on the device that was asked for, warmed up."""

import logging

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from decision import Bundle
from decision.bundle import INPUT_NAME, OUTPUT_NAME
from service.settings import Device

log = logging.getLogger("equipoise")

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}


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
            self.logits(np.zeros((1, spec.height, spec.width, spec.channels), dtype=np.uint8))
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise NetworkError(f"{bundle.network}: onnxruntime cannot run this network: {error}") from error
        self.provider: str = self._session.get_providers()[0]
        if device == "cuda" and self.provider != CUDA:
            raise NetworkError(
                f"EQUIPOISE_DEVICE=cuda: expected {CUDA}, onnxruntime took {self.provider}; "
                "check the driver and the extra `gpu`, or set EQUIPOISE_DEVICE=auto"
            )
        log.warning("execution provider: %s (EQUIPOISE_DEVICE=%s)", self.provider, device)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits `(n, classes)` of pixels `(n, height, width, channels)`."""
        logits: NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0]
        return logits


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
