"""Mild corruptions that robustness is measured on: CIFAR-10-C's, at the second of its five severities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.encoded import Rows

SOURCE = "Hendrycks and Dietterich 2019, CIFAR-10-C at severity 2"
SIDE = 32
SEED = 2019

Pixels = NDArray[np.float32]
"""`(n, height, width, channels)`, from 0 to 1."""


@dataclass(frozen=True)
class Corruption:
    """How strong it is (in the unit that `words` say), and what it does to pixels of these rows of a data set."""

    strength: float
    words: str
    apply: Callable[[Pixels, Rows, float], Pixels]


def corrupted(name: str, images: NDArray[np.uint8], rows: Rows) -> NDArray[np.uint8]:
    """Images `(n, height, width, channels)` with one of `CORRUPTIONS`; `rows` `(n,)` are their places in the data set.

    Laws: deterministic; no image depends on its batch mates; images of equal size get the same noise at the same row.
    """
    corruption = CORRUPTIONS[name]
    pixels = corruption.apply(images.astype(np.float32) / np.float32(255), rows, corruption.strength)
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def _noise(pixels: Pixels, rows: Rows, strength: float) -> Pixels:
    drawn = [np.random.default_rng([SEED, row]).standard_normal(pixels.shape[1:], np.float32) for row in rows.tolist()]
    return pixels + strength * np.stack(drawn)


def _blur(pixels: Pixels, rows: Rows, strength: float) -> Pixels:
    """Edges are repeated, as scikit-image does, which made the originals."""
    del rows
    sigma = strength * min(pixels.shape[1:3]) / SIDE
    blurred: Pixels = gaussian_filter(pixels, (0, sigma, sigma, 0), mode="nearest")
    return blurred


def _brighter(pixels: Pixels, rows: Rows, strength: float) -> Pixels:
    """The value of HSV rises, hue and saturation stay; of grey images that is an addition."""
    del rows
    value = pixels.max(axis=3, keepdims=True)
    raised = np.minimum(value + strength, 1)
    factor = np.divide(raised, value, out=np.zeros_like(value), where=value > 0)
    brighter: Pixels = np.where(value > 0, pixels * factor, raised)
    return brighter


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(0.06, "Gaussian noise of standard deviation 0.06 of the range", _noise),
    "blur": Corruption(0.6, f"Gaussian blur of σ = 0.6/{SIDE} of the shorter side", _blur),
    "brightness": Corruption(0.1, "HSV value raised by 0.1 of the range", _brighter),
}
