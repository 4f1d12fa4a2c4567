"""A BentoML service as its quickstart writes one: `bentoml serve benchmarks.serving.quickstart:Quickstart`."""

import bentoml
import numpy as np
from PIL import Image

from benchmarks.serving.bare import bundle, session
from decision import softmax
from decision.bundle import INPUT_NAME, OUTPUT_NAME
from decision.images import to_input


@bentoml.service(workers=1)
class Quickstart:
    """An image in, a dictionary out."""

    @bentoml.api
    def predict(self, image: Image.Image) -> dict:
        """The most probable class and the network's own probabilities."""
        logits = session.run([OUTPUT_NAME], {INPUT_NAME: to_input(image, bundle.input)[None]})[0]
        by_class = dict(zip(bundle.classes, softmax(logits)[0].tolist(), strict=True))
        return {"label": bundle.classes[int(np.argmax(logits))], "probabilities": by_class}
