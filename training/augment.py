"""Augmentation of a batch of uint8 images `(n, height, width, channels)`: moves that keep the label."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.dataset import Flips


@dataclass(frozen=True)
class Augmentation:
    """Mirror along the axes that keep every label, and move by at most `shift` of each side, edges repeated."""

    flips: Flips
    shift: float

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Each image of the batch on its own draw."""
        for axis, name in ((2, "horizontal"), (1, "vertical")):
            if self.flips in (name, "both"):
                chosen = torch.from_numpy(rng.random(len(images)) < 0.5)
                images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
        rows, columns = (self._moved(images.shape[axis], len(images), rng) for axis in (1, 2))
        return images[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _moved(self, side: int, n: int, rng: np.random.Generator) -> Tensor:
        """For each of n images, which of `side` rows (columns) comes to each place."""
        most = round(self.shift * side)
        offsets = rng.integers(-most, most, size=(n, 1), endpoint=True)
        return torch.from_numpy((np.arange(side) + offsets).clip(0, side - 1))
