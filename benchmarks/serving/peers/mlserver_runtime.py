"""An MLServer runtime: `python -m benchmarks.serving.peers.mlserver_runtime PORT PARALLEL_WORKERS`; 0 is in process."""

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

NAME = "network"


class Network(MLModel):
    """One image in base64 in, the answer of the bare app out."""

    async def load(self) -> bool:
        from benchmarks.serving.bare import answer  # in the worker that serves

        self.answer = answer
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [image] = Base64Codec.decode_input(payload.inputs[0])
        said = StringCodec.encode_output("answer", [self.answer(image).decode()])
        return InferenceResponse(model_name=self.name, outputs=[said])


def main(port: str, parallel_workers: str) -> NoReturn:
    """Become `mlserver start`."""
    folder = Path(tempfile.mkdtemp())
    settings = {"name": NAME, "implementation": f"{__spec__.name}.Network"}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    os.environ |= {
        "MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": port, "MLSERVER_PARALLEL_WORKERS": parallel_workers,
        "MLSERVER_DEBUG": "false", "MLSERVER_GRPC_PORT": _free_port(), "MLSERVER_METRICS_PORT": _free_port(),
    }  # fmt: skip
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)])


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
