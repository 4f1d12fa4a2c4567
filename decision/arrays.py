"""The arrays everything is made of: `(batch, classes)`, float64, never mutated; the scale is in the name.

Here and in `Policy.decide` reductions are those of ufuncs: the methods of arrays take as long again for a single image.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROW_TOLERANCE = 1e-3  # of stored answers, kept as float16

Logits: TypeAlias = NDArray[np.float64]
"""`(n, K)`, any finite real number, free up to a constant per row."""
Probabilities: TypeAlias = NDArray[np.float64]
"""`(n, K)`, each row non-negative and summing to 1."""
Priors: TypeAlias = NDArray[np.float64]
"""`(K,)`, class probabilities of a population, positive and summing to 1."""
Labels: TypeAlias = NDArray[np.int64]
"""`(n,)`, index of a class, or -1 for an abstention."""
Flags: TypeAlias = NDArray[np.bool_]
"""`(n, K)`, True where a class is flagged."""


def as_logits(logits: ArrayLike) -> Logits:
    """Logits as a finite float64 array `(n, K)`; ValueError for any other shape or a NaN or infinity."""
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2:
        raise ValueError(f"expected logits of shape (batch, classes), got shape {z.shape}")
    if not np.logical_and.reduce(np.isfinite(z), axis=None):
        raise ValueError("expected finite logits, got NaN or infinity")
    return z


def as_probabilities(probabilities: ArrayLike, classes: int) -> Probabilities:
    """Probabilities as a float64 array `(n, classes)`, n ≥ 1; ValueError unless each row is one of probabilities."""
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != classes or len(p) == 0:
        raise ValueError(f"expected probabilities of shape (n, {classes}), got {p.shape}")
    if not (p >= 0).all() or not (np.abs(p.sum(axis=1) - 1) <= ROW_TOLERANCE).all():
        raise ValueError("expected probabilities of at least 0, each row summing to 1")
    return p


def softmax(logits: ArrayLike) -> Probabilities:
    """Probabilities `(n, K)` from logits `(n, K)`: p_k = exp z_k / Σ_j exp z_j.

    Laws: rows sum to 1; a constant added to a row changes nothing; finite for any finite logits.
    Raises ValueError unless `logits` is a finite two-dimensional array.
    """
    return softmax_unchecked(as_logits(logits))


def softmax_unchecked(z: Logits) -> Probabilities:
    """`softmax` of an array that is known to hold finite logits."""
    p: Probabilities = np.exp(z - np.maximum.reduce(z, axis=1, keepdims=True))
    p /= np.add.reduce(p, axis=1, keepdims=True)
    return p


def frozen(values: ArrayLike) -> NDArray[np.float64]:
    """A read-only float64 copy, for the fields of frozen values."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
