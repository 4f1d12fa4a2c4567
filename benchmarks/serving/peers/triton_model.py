"""Triton's Python backend: a model of it, and `python -m benchmarks.serving.peers.triton_model PORT` that serves it.

The server and the stub that loads Python come with nvidia-pytriton; the model folder is written anew at each start.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NoReturn

NAME = "network"
CONFIG = """
backend: "python"
max_batch_size: 0
input [{ name: "image", data_type: TYPE_STRING, dims: [1] }]
output [{ name: "answer", data_type: TYPE_STRING, dims: [1] }]
instance_group [{ kind: KIND_CPU, count: WORKERS }]
"""


class TritonPythonModel:
    """One encoded image in, the answer of the bare app out."""

    def initialize(self, arguments: dict[str, str]) -> None:
        import numpy as np
        import triton_python_backend_utils as backend

        from benchmarks.serving.bare import answer

        self.answer, self.backend, self.array = answer, backend, np.array

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._one(request) for request in requests]

    def _one(self, request: Any) -> Any:
        image = self.backend.get_input_tensor_by_name(request, "image").as_numpy()[0]
        said = self.backend.Tensor("answer", self.array([self.answer(image)], dtype=object))
        return self.backend.InferenceResponse([said])


def main(port: str, workers: str) -> NoReturn:
    """Become tritonserver."""
    packages = Path(sysconfig.get_paths()["purelib"])
    triton = packages / "pytriton" / "tritonserver"
    folder = Path(tempfile.mkdtemp())
    model = folder / "models" / NAME
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG.replace("WORKERS", workers))
    shutil.copy(__file__, model / "1" / "model.py")
    backends = shutil.copytree(triton / "backends", folder / "backends")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(triton / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    # The interpreter in the stub looks for its packages where the first python3 of PATH has them, and in this folder.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{packages / 'nvidia_pytriton.libs'}"
    os.execv(triton / "bin" / "tritonserver", [
        "tritonserver", f"--model-repository={folder / 'models'}", f"--backend-directory={backends}",
        "--http-address=127.0.0.1", f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false",
        "--log-info=false",
    ])  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
