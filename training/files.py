"""Images that stay encoded until they are asked for, so that a data set need not fit into memory."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.decoding import Loaded, load_images
from training.encoded import Contents, Encoded, ImageFiles, Paths, Pixels, Reader, Rows, no_images, pieces_of
from training.heap import Heap
from training.workers import default_workers, in_order

__all__ = ["Contents", "Encoded", "ImageFiles", "Images", "Loaded", "Paths", "Rows", "batched", "default_workers",
           "in_chunks", "load_images"]  # fmt: skip

Images: TypeAlias = NDArray[np.uint8] | ImageFiles


def in_chunks(rows: Rows, size: int) -> list[Rows]:
    """Rows in their order, at most `size` at once."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def batched(images: Images, chunks: Iterable[Rows], *, workers: int) -> Iterator[Pixels]:
    """`images[rows]` for each chunk of rows, in order; files are decoded ahead by worker processes.

    Chunks may be made lazily. Workers share a chunk, piece by piece, so that what is ahead is bounded in bytes. Raises
    DataError, which names the file, where one can no longer be read.
    """
    if isinstance(images, np.ndarray) or workers == 0:
        yield from (images[rows] for rows in chunks)
        return
    heap, lengths = Heap(), deque[int]()

    def pieces() -> Iterator[Rows]:
        for rows in chunks:
            cut = pieces_of(rows, images)
            lengths.append(len(cut))
            yield from cut

    decoded = in_order(Reader(images), pieces(), workers)
    for first in decoded:
        parts = [first, *islice(decoded, lengths.popleft() - 1)]
        if broken := {row: line for _, lines in parts for row, line in lines.items()}:
            raise no_images(broken)
        yield np.concatenate([pixels.numpy() for pixels, _ in parts])  # a copy: shared memory is scarce
        heap.give_back()
