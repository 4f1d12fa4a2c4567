"""Augmentation of a batch: changes of the images that keep their labels, or mix them in known shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.dataset import Flips
from training.encoded import Rows
from training.randaugment import apply_operations, draw_operations

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


@dataclass(frozen=True, eq=False)
class Draw:
    """What becomes of some images of a batch, drawn before the images are there.

    Of the batch, the images at `places` are needed. Those at `changed`, which counts within `places` as all below do,
    are moved: row and column i of each come from its `rows[i]` and `columns[i]`, `(changed, height)` and
    `(changed, width)`. Then they get `operations` `(changed, layers)`, where there are some. The batch holds those at
    `own`; with mixup, each mixed with the one at `partners` as `shares` says, all `(own,)`.
    """

    places: Rows
    own: Rows
    changed: Rows
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    operations: NDArray[np.int64] | None = None
    partners: Rows | None = None
    shares: NDArray[np.float32] | None = None

    def applied(self, images: Tensor, labels: Tensor) -> Batch:
        """The batch of the uint8 images at `places` and their labels, on the device where they are."""
        if len(self.changed) == len(images) > 0:
            images = self._changed(images)
        elif len(self.changed):
            there = torch.from_numpy(self.changed).to(images.device)
            images = images.index_copy(0, there, self._changed(images.index_select(0, there)))
        if self.partners is None or self.shares is None:
            return Batch(images, labels)
        own, partners, shares = (torch.from_numpy(x).to(images.device) for x in (self.own, self.partners, self.shares))
        levels = images.float()
        mixed = torch.lerp(levels[partners], levels[own], shares[:, None, None, None])
        return Batch(mixed, labels[own], labels[partners], shares)

    def _changed(self, images: Tensor) -> Tensor:
        moved = _moved(images, self.rows, self.columns)
        return moved if self.operations is None else apply_operations(moved, self.operations)


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

    def draw(
        self, labels: NDArray[np.int64], shape: Sequence[int], rng: np.random.Generator, own: slice = slice(None)
    ) -> Draw:
        """What becomes of the images `own` of a batch with these labels `(n,)`, each `shape` (height, width, channels).

        Law: the draw is of the whole batch, so that the parts of a batch are those of the batch drawn in one.
        """
        n, (height, width, channels) = len(labels), shape
        mine = np.arange(n)[own]
        chosen = np.arange(n) if self.classes is None else np.flatnonzero(np.isin(labels, self.classes))
        chosen = chosen[:0] if self.kind == "none" else chosen
        columns = self._sources(width, len(chosen), "horizontal", rng)
        rows = self._sources(height, len(chosen), "vertical", rng)
        operations = draw_operations(len(chosen), channels, rng) if self.kind == "strong" else None
        if self.kind != "mixup":
            kept = np.isin(chosen, mine)
            return Draw(mine, np.arange(len(mine)), np.searchsorted(mine, chosen[kept]), rows[kept], columns[kept],
                        None if operations is None else operations[kept])  # fmt: skip
        partners = rng.permutation(n)[own]
        shares = np.ones(n, dtype=np.float32)
        shares[chosen] = rng.beta(ALPHA, ALPHA, len(chosen))
        places = np.union1d(mine, partners)
        kept = np.isin(chosen, places)
        changed, mine, partners = (np.searchsorted(places, rows) for rows in (chosen[kept], mine, partners))
        return Draw(places, mine, changed, rows[kept], columns[kept], partners=partners, shares=shares[own])

    def _sources(self, side: int, n: int, flip: Flips, rng: np.random.Generator) -> NDArray[np.int32]:
        """For each of n images, which of `side` rows (columns) comes to each place, `(n, side)`."""
        most = round(self.shift * side)
        sources = (np.arange(side) + rng.integers(-most, most, size=(n, 1), endpoint=True)).clip(0, side - 1)
        if self.flips in (flip, "both"):
            sources = np.where(rng.random((n, 1)) < 0.5, side - 1 - sources, sources)
        return sources.astype(np.int32)


def rare_classes(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Classes with fewer images than the mean class, n/K, of `counts` `(K,)`: none where all have as many."""
    return tuple(np.flatnonzero(counts < counts.mean()).tolist())


def _moved(images: Tensor, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Tensor:
    """Each image with its own rows and columns. What names each pixel is made on the device, not sent there."""
    n, height, width, _ = images.shape
    kind = torch.int32 if n * height * width < 2**31 else torch.int64
    from_rows, from_columns = (torch.from_numpy(x).to(images.device, kind) for x in (rows, columns))
    from_rows = from_rows + height * torch.arange(n, dtype=kind, device=images.device)[:, None]
    pixels = from_rows[:, :, None] * width + from_columns[:, None, :]
    return images.flatten(0, 2).index_select(0, pixels.flatten()).view_as(images)
