"""A LitServe API as its own examples write one: `python -m benchmarks.serving.peers.litserve_api PORT WORKERS`."""

import sys
from typing import Any

import litserve
from fastapi import Request, Response


class Api(litserve.LitAPI):
    """A multipart image in, the answer of the bare app out."""

    def setup(self, device: str) -> None:
        from benchmarks.serving.bare import answer  # in the worker: a session does not survive a fork

        self.answer = answer

    def decode_request(self, request: Request) -> bytes:
        data: bytes = request["image"].file.read()
        return data

    def predict(self, image: bytes) -> bytes:
        return self.answer(image)

    def encode_response(self, said: bytes) -> Any:
        return Response(said, media_type="application/json")


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=int(sys.argv[2]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error",
               num_api_servers=int(sys.argv[2]), access_log=False)  # fmt: skip
