"""PLACEHOLDER, to be replaced."""
from collections.abc import Iterable, Iterator
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


def batched(images: Images, chunks: Iterable[NDArray[np.int64]], *, workers: int = 0) -> Iterator[NDArray[np.uint8]]:
    for rows in chunks:
        yield images[rows]


def default_workers() -> int:
    return 1
