"""Remedies for imbalance, each one row: which images a phase draws, what it trains, at what rate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["natural", "oversample", "undersample"]


@dataclass(frozen=True)
class Phase:
    """One stretch of training. `trainable="head"` freezes all but the output layer, batch-norm statistics included."""

    name: Literal["rebalanced", "natural"]
    sampling: Sampling
    trainable: Literal["all", "head"] = "all"
    rate: float = 1.0
    """Learning rate as a multiple of the network's own."""


# Rebalanced first, natural second (Havaei et al. 2017, section 2; Buda et al. 2018, section 3.2).
# Kang et al.'s decoupling runs in the opposite order.
METHODS: dict[str, tuple[Phase, ...]] = {
    "baseline": (Phase("natural", "natural"),),
    "two-phase-oversample": (Phase("rebalanced", "oversample"), Phase("natural", "natural", "head", rate=0.1)),
    "two-phase-undersample": (Phase("rebalanced", "undersample"), Phase("natural", "natural", "head", rate=0.1)),
}


class Sampler:
    """Endless epochs of indices into the training labels, each as long as the training split.

    Equal lengths give every sampling the same number of iterations (as Buda et al.). `oversample` deals
    every class equally often, each from its own shuffled stream, so that an image comes again only when
    all of its class have come. `undersample` does the same on a fixed draw of as many images of each
    class as the rarest has.
    """

    def __init__(self, sampling: Sampling, labels: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._rng = rng
        self._length = len(labels)
        members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
        if sampling == "undersample":
            fewest = min(map(len, members))
            members = [rng.permutation(rows)[:fewest] for rows in members]
        streams = [np.arange(len(labels))] if sampling == "natural" else members
        self._streams = [_Stream(rows, rng) for rows in streams]

    def epoch(self) -> NDArray[np.int64]:
        """Shuffled indices `(n,)` for one epoch."""
        share, extra = divmod(self._length, len(self._streams))
        lucky = set(self._rng.permutation(len(self._streams))[:extra].tolist())
        drawn = [stream.take(share + (i in lucky)) for i, stream in enumerate(self._streams)]
        return self._rng.permutation(np.concatenate(drawn))


class _Stream:
    """The same rows over and over, in a new order each time."""

    def __init__(self, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        self._rows, self._rng = rows, rng
        self._waiting = rng.permutation(rows)

    def take(self, n: int) -> NDArray[np.int64]:
        while len(self._waiting) < n:
            self._waiting = np.concatenate([self._waiting, self._rng.permutation(self._rows)])
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        return taken
