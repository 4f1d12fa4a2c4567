"""Small grey versions of images as unit vectors, whose products are the correlations of the images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE = 32
FLAT = 1e-3  # grey levels; one pixel of a 1024×1024 image that differs by 1 makes as much in its thumbnail


def thumbnails(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Images `(n, height, width, channels)` as unit vectors `(n, pixels)` about their mean, and which are flat `(n,)`.

    Grey is the mean of the channels; a side above 32 pixels is area-averaged to 32. A flat image has one grey value
    all over, so that it correlates with nothing: its vector is 0. Law: for others, the product of two vectors is
    the Pearson correlation of the two thumbnails.
    """
    grey = images.mean(axis=3, dtype=np.float32)
    rows, columns = (_averaging(side) for side in grey.shape[1:])
    small = (rows @ grey @ columns.T).reshape(len(images), -1)
    flat = np.ptp(small, axis=1) < FLAT
    centred = np.where(flat[:, None], 0, small - small.mean(axis=1, keepdims=True))
    norms = np.linalg.norm(centred, axis=1)
    return (centred / np.where(flat, 1, norms)[:, None]).astype(np.float32), flat


def n_pixels(shape: Sequence[int]) -> int:
    """Pixels of a thumbnail of images of shape `(n, height, width, channels)`."""
    return min(shape[1], SIDE) * min(shape[2], SIDE)


def _averaging(side: int) -> NDArray[np.float32]:
    """Matrix `(min(side, 32), side)` that averages over equal stretches, pixels on an edge by the part that is in."""
    edges = np.linspace(0, side, min(side, SIDE) + 1)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (overlap.clip(0) / np.diff(edges)[:, None]).astype(np.float32)
