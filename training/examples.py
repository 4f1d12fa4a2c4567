"""What a phase trains on: images, drawn and augmented; or features of a frozen body, with synthetic ones among them."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import Augmentation, Batch, Draw
from training.files import Images, Rows, batched
from training.sampling import Sampling

NEIGHBOURS = 5

Drawn: TypeAlias = Sequence[Rows]
"""The batches of an epoch, as positions in `labels`."""


@dataclass(frozen=True)
class Share:
    """Which images of every batch this process takes: each `count`-th, from the `rank`-th."""

    rank: int = 0
    count: int = 1

    @property
    def of_batch(self) -> slice:
        return slice(self.rank, None, self.count)


class Examples(Protocol):
    """Labels `(n,)` to draw from, and the batches of what was drawn, on a device."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def batches(self, drawn: Drawn, seed: Sequence[int], share: Share, device: torch.device) -> Iterator[Batch]:
        """For each draw of positions in `labels`, this process's share of the batch."""
        ...


@dataclass(frozen=True, eq=False)
class ImageExamples:
    """The images `rows` of a data set.

    Law: any number of processes sees the same batches as one, wherever the images are. A process decodes and augments
    its share alone; with mixup, also the images that are mixed into its share.
    """

    images: Images
    rows: Rows
    labels: NDArray[np.int64]
    augment: Augmentation
    workers: int

    def batches(self, drawn: Drawn, seed: Sequence[int], share: Share, device: torch.device) -> Iterator[Batch]:
        rng = np.random.default_rng([*seed, 0])
        ahead = deque[tuple[Draw, Rows]]()

        def chunks() -> Iterator[Rows]:
            for positions in drawn:
                draw = self.augment.draw(self.labels[positions], self.images.shape[1:], rng, share.of_batch)
                taken = positions[draw.places]
                ahead.append((draw, taken))
                yield self.rows[taken]

        for pixels in batched(self.images, chunks(), workers=self.workers):
            draw, taken = ahead.popleft()
            labels = torch.from_numpy(self.labels[taken])
            yield draw.applied(torch.from_numpy(pixels).to(device), labels.to(device))


@dataclass(frozen=True, eq=False)
class FeatureExamples:
    """Features `(n, …)` in memory, one a label."""

    features: Tensor
    labels: NDArray[np.int64]

    def batches(self, drawn: Drawn, seed: Sequence[int], share: Share, device: torch.device) -> Iterator[Batch]:
        del seed  # nothing is augmented
        for positions in drawn:
            own = torch.from_numpy(positions[share.of_batch])
            yield Batch(self.features[own].to(device), torch.from_numpy(self.labels)[own].to(device))


def synthesised(features: Tensor, labels: NDArray[np.int64], sampling: Sampling, seed: int) -> FeatureExamples:
    """Features with each class filled up to its resampled size by SMOTE (Chawla et al. 2002), imbalanced-learn's.

    A synthetic one lies between a feature and one of its 5 nearest of the same class, or of as many as there are; a
    class of a single image is repeated.
    """
    from imblearn.over_sampling import SMOTE, RandomOverSampler

    counts = np.bincount(labels)
    wanted = np.ceil(sampling.sizes(counts) - 1e-9).astype(int)
    x, y = features.flatten(1).numpy(), labels
    lone = {k: wanted[k] for k in np.flatnonzero((counts == 1) & (wanted > 1)).tolist()}
    if lone:
        x, y = RandomOverSampler(sampling_strategy=lone, random_state=seed).fit_resample(x, y)
    few = {k: wanted[k] for k in np.flatnonzero((counts > 1) & (wanted > counts)).tolist()}
    for k, size in few.items():
        neighbours = min(NEIGHBOURS, int(counts[k]) - 1)
        x, y = SMOTE(sampling_strategy={k: size}, k_neighbors=neighbours, random_state=seed).fit_resample(x, y)
    return FeatureExamples(torch.from_numpy(np.asarray(x)).reshape(-1, *features.shape[1:]), np.asarray(y))
