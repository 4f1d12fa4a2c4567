"""Augmentation of a batch: changes of the images that keep their labels, or mix them in known shares."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.dataset import Flips
from training.randaugment import randaugment

Kind = Literal["none", "light", "strong", "mixup"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ALPHA = 0.2  # of mixup's Beta: in most pairs one image far outweighs the other


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step trains on: images `(n, height, width, channels)`, uint8, or float32 from 0 to 255 where mixed.

    Where mixed, label i weighs `shares[i]`, and `partners[i]`, the label of the image mixed in, the rest; all `(n,)`.
    """

    images: Tensor
    labels: Tensor
    partners: Tensor | None = None
    shares: Tensor | None = None

    def __getitem__(self, taken: slice) -> "Batch":
        """A part of the batch."""
        mixed = (None if part is None else part[taken] for part in (self.partners, self.shares))
        return Batch(self.images[taken], self.labels[taken], *mixed)


@dataclass(frozen=True)
class Augmentation:
    """How images of `classes` (all, where None) are changed; images of other classes stay as they are.

    - light: mirrored along the axes that keep every label, and moved by at most `shift` of each side, edges repeated
    - strong: light, then RandAugment
    - mixup: light, then each mixed with an image of the batch, of whichever class (Zhang et al. 2018)
    """

    kind: Kind
    flips: Flips
    shift: float
    classes: tuple[int, ...] | None = None

    def __call__(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Batch:
        """Each uint8 image on its own draw from `rng`, on the device where it is, as are its `labels` `(n,)`."""
        if self.kind == "none":
            return Batch(images, labels)
        rows = self._rows(labels)
        changed = self._moved(images.index_select(0, rows), rng)
        if self.kind == "strong":
            changed = randaugment(changed, rng)
        images = images.index_copy(0, rows, changed)
        return _mixed(images, labels, rows, rng) if self.kind == "mixup" else Batch(images, labels)

    def _rows(self, labels: Tensor) -> Tensor:
        """Which images are of `classes`."""
        if self.classes is None:
            return torch.arange(len(labels), device=labels.device)
        classes = torch.tensor(self.classes, dtype=labels.dtype, device=labels.device)
        return torch.isin(labels, classes).nonzero()[:, 0]

    def _moved(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        n, height, width, _ = images.shape
        columns = self._sources(width, n, "horizontal", rng)
        rows = self._sources(height, n, "vertical", rng) + height * np.arange(n)[:, None]
        pixels = torch.from_numpy(rows[:, :, None] * width + columns[:, None, :]).to(images.device)
        return images.flatten(0, 2).index_select(0, pixels.flatten()).view_as(images)

    def _sources(self, side: int, n: int, flip: Flips, rng: np.random.Generator) -> NDArray[np.int64]:
        """For each of n images, which of `side` rows (columns) comes to each place, `(n, side)`."""
        most = round(self.shift * side)
        sources = (np.arange(side) + rng.integers(-most, most, size=(n, 1), endpoint=True)).clip(0, side - 1)
        if self.flips in (flip, "both"):
            sources = np.where(rng.random((n, 1)) < 0.5, side - 1 - sources, sources)
        return sources


def rare_classes(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Classes with fewer images than the mean class, n/K, of `counts` `(K,)`: none where all have as many."""
    return tuple(np.flatnonzero(counts < counts.mean()).tolist())


def _mixed(images: Tensor, labels: Tensor, rows: Tensor, rng: np.random.Generator) -> Batch:
    """x = λ x + (1 − λ) x', x' the image at a permuted place; λ ~ Beta(α, α) for each image of `rows`, 1 for others."""
    partners = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    drawn = torch.from_numpy(rng.beta(ALPHA, ALPHA, len(rows))).float().to(images.device)
    shares = torch.ones(len(images), device=images.device).index_copy(0, rows, drawn)
    own = images.float()
    mixed = torch.lerp(own[partners], own, shares[:, None, None, None])
    return Batch(mixed, labels, labels[partners], shares)
