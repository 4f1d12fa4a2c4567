"""Limits of live priors: what the chance of the answers and of the held-out images leaves open."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Labels, Priors
from decision.intervals import Array, Z

UNSEEN = 2.0  # images that a class may have without one having come: z² / 2 to each side, as Wilson's limits have


@dataclass(frozen=True, eq=False)
class Separation:
    """Weights `(K, K)` of K features, from held-out images: row k sums an image's features to a mark g_k of class k.

    Of images of class k, g_k has the mean 1, of every other class 0; so its mean over answers is q_k, whatever the
    features are and however well probabilities are calibrated (Lipton, Wang and Smola 2018 with C⁻¹ written as a
    mark; Vaz, Izbicki and Stern 2019). `squares` `(K, K)` are the means over class j of g_k², `chance` `(K, K)` the
    variances of those of g_k, at [j, k].
    """

    weights: Array
    squares: Array
    chance: Array

    @classmethod
    def of(cls, features: Array, labels: Labels, groups: NDArray[np.int64]) -> "Separation":
        """From `features` `(m, K)` of held-out images; related ones have the same entry of `groups` `(m,)`.

        Raises numpy.linalg.LinAlgError where the features do not tell the classes apart.
        """
        own = [np.flatnonzero(labels == j) for j in range(features.shape[1])]
        weights = np.linalg.inv(np.stack([features[rows].mean(axis=0) for rows in own], axis=1))
        moments = [_moments(features[rows] @ weights.T, groups[rows]) for rows in own]
        squares, chance = (np.array(each) for each in zip(*moments, strict=True))
        return cls(weights, squares, chance)

    def limits(self, features: Array, priors: Priors, n: int) -> tuple[Array, Array]:
        """95% limits `(K,)` of live priors, from the mean `features` `(K,)` of n answers.

        Score limits, as Wilson's (1927): those q_k that lie within z standard errors of the mean mark, the error being
        that of q_k itself, the other classes as in `priors` `(K,)`, scaled to the rest. Its variance joins that of n
        answers and, in quadrature, that of each class's held-out images. Law: classes that are told apart without
        fault by very many images have Wilson's limits.
        """
        mean = self.weights @ features
        others = np.where(np.eye(len(mean), dtype=bool), 0.0, priors[:, None])
        others /= np.maximum(others.sum(axis=0), np.finfo(float).tiny)
        own_square, own_chance = self.squares.diagonal(), self.chance.diagonal()
        square, chance = (others * self.squares).sum(axis=0), (others**2 * self.chance).sum(axis=0)
        # (mean - q)² ≤ z² [(q own_square + (1 - q) square - q²) / n + q² own_chance + (1 - q)² chance]
        a = 1 + Z**2 * (1 / n - own_chance - chance)
        b = mean + Z**2 * ((own_square - square) / (2 * n) - chance)
        c = mean**2 - Z**2 * (square / n + chance)
        root = np.sqrt(np.maximum(b**2 - a * c, 0.0))
        bounded = a > 0  # otherwise so few images are held out that any share would fit
        low, high = (np.divide(end, a, out=np.zeros(len(a)), where=bounded) for end in (b - root, b + root))
        return np.where(bounded, np.clip(low, 0.0, 1.0), 0.0), np.where(bounded, np.clip(high, 0.0, 1.0), 1.0)


def _moments(marks: Array, groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Means of squares `(K,)` of one class's marks `(m, K)`, and the variances of their means, by group.

    The variance is not less than if two images more had come whose marks are off by 1: images of a class that all look
    alike may do so by chance.
    """
    m, (_, group) = len(marks), np.unique(groups, return_inverse=True)
    off = np.zeros((int(group.max()) + 1, marks.shape[1]))
    np.add.at(off, group, marks - marks.mean(axis=0))
    count = len(off)
    spread = (off**2).sum(axis=0) * (count / m) ** 2
    return (marks**2).mean(axis=0), (spread + UNSEEN) / (count + UNSEEN) / count
