"""What a bundle's network and policy say of an image: every server must say the same before it is timed."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
import onnxruntime

from benchmarks.serving.contenders import OURS, Running
from decision import load_bundle, read_image, softmax
from decision.bundle import INPUT_NAME, OUTPUT_NAME


class Truth:
    """Of one bundle."""

    def __init__(self, model: Path) -> None:
        self.bundle = load_bundle(model)
        self._session = onnxruntime.InferenceSession(str(self.bundle.network), providers=["CPUExecutionProvider"])

    def check(self, running: Running, image: bytes) -> None:
        """Ask once; AssertionError unless the probabilities are the network's, from Equipoise those of its policy."""
        request = running.contender.request(image)
        headers = {"Content-Type": request.kind, **request.headers}
        answer = httpx.post(f"{running.url}{request.path}", content=request.body, headers=headers, timeout=60)
        found = running.contender.probabilities(answer.raise_for_status().content)
        self._same(running.contender.name, found, self.probabilities(image, adjusted=running.contender is OURS))

    def probabilities(self, image: bytes, *, adjusted: bool) -> dict[str, float]:
        """By class."""
        pixels = read_image(image, self.bundle.input)
        logits = self._session.run([OUTPUT_NAME], {INPUT_NAME: pixels[None]})[0]
        policy = self.bundle.policy(self.bundle.manifest.policy)
        found = policy.decide(logits).probabilities if adjusted else softmax(logits)
        return dict(zip(self.bundle.classes, found[0].tolist(), strict=True))

    def _same(self, name: str, found: Mapping[str, float], expected: Mapping[str, float]) -> None:
        assert found.keys() == expected.keys(), f"{name}: expected {expected}, got {found}"
        close = np.allclose([found[k] for k in expected], list(expected.values()), rtol=0, atol=1e-6)
        assert close, f"{name}: expected {expected}, got {found}"
