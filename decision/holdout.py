"""Held-out images as the network saw them: what certificates, previews and drift references rest on."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Labels, Logits

Split = Literal["tune", "test"]


@dataclass(frozen=True, eq=False)
class Holdout:
    """Logits `(n, K)`, labels, split ("tune" or "test") and groups, all `(n,)`; read-only.

    Certificates use tune alone; previews and expected precision test alone; drift references both.
    """

    logits: Logits
    labels: Labels
    split: NDArray[np.str_]
    groups: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("logits", "labels", "split", "groups"):
            view = getattr(self, name).view()  # the caller's own array stays as it was
            view.setflags(write=False)
            object.__setattr__(self, name, view)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """What each image counts `(n,)`: a group's images of one class, in one split, count as one together."""
        _, group = np.unique(self.groups, return_inverse=True)
        kind = (group * (self.labels.max(initial=0) + 1) + self.labels) * 2 + (self.split == "test")
        _, member, size = np.unique(kind, return_inverse=True, return_counts=True)
        shares: NDArray[np.float64] = 1.0 / size[member]
        return shares

    def part(self, split: Split) -> "Holdout":
        """The images of one split."""
        rows = self.split == split
        return Holdout(self.logits[rows], self.labels[rows], self.split[rows], self.groups[rows])

    def one_a_group(self, split: Split, k: int, seed: int) -> NDArray[np.int64]:
        """Rows of class k in a split, one of each group, drawn by the seed: independent images of the class."""
        members = np.flatnonzero((self.labels == k) & (self.split == split))
        rows = np.random.default_rng([seed, k]).permutation(members)
        _, first = np.unique(self.groups[rows], return_index=True)
        return np.sort(rows[first])
