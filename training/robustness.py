"""What an exported network makes of corrupted test images."""

import bisect

import numpy as np
from numpy.typing import NDArray

from decision import Bundle
from training.config import TrainingConfig
from training.corruptions import CORRUPTIONS, corrupted
from training.dataset import Dataset
from training.errors import DataError
from training.export import onnx_logits
from training.files import batched, in_chunks
from training.loading import workers_of
from training.measure import CorruptedLogits
from training.splits import split

MOST_CORRUPTED = 10_000
CHUNK = 256


def corrupted_logits(dataset: Dataset, bundle: Bundle, config: TrainingConfig) -> CorruptedLogits:
    """Logits of corrupted test images, at most 10,000, as the network of a bundle computes them.

    `config` is that of the bundle's run, as it decides the test split. DataError where that is another one.
    """
    test = split(dataset, config.imbalance, config.seed).test
    if not np.array_equal(dataset.labels[test], bundle.holdout.part("test").labels):
        raise DataError(f"{bundle.id}: expected the test images that its bundle holds, got others")
    places = spread(dataset.labels[test], MOST_CORRUPTED, np.random.default_rng([config.seed, 98]))
    rows, network = test[places], bundle.network.read_bytes()
    chunks = in_chunks(rows, CHUNK)
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CORRUPTIONS}
    for chunk, images in zip(chunks, batched(dataset.images, chunks, workers=workers_of(config)), strict=True):
        for name, kept in logits.items():
            kept.append(onnx_logits(network, corrupted(name, images, chunk)))
    return CorruptedLogits(places, {name: np.concatenate(kept) for name, kept in logits.items()})


def spread(labels: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places, in rising order, of at most `most` of the labels `(n,)`, drawn at random, rare classes whole first.

    No class gets more than another that has images left: what serves a mean over classes best.
    """
    counts = np.bincount(labels)
    cap = bisect.bisect_right(range(1, counts.max() + 1), most, key=lambda c: np.minimum(counts, c).sum())
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    return np.sort(order[rank < max(cap, 1)])
