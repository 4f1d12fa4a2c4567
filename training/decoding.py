"""The passes over all image files before training: what they are, and that each can be decoded."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from decision import InputSpec
from decision.images import FORMATS, Resize
from training.encoded import Encoded, ImageFiles, Pixels, Reader, Rows, no_images, pieces_of, quiet_pillow
from training.errors import DataError
from training.memory import available_memory
from training.progress import progress
from training.workers import in_order

LARGEST_SIDE = 224
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L"})
HEADERS = 256  # that a worker reads at once

Sizes: TypeAlias = Counter[tuple[int, int]]
"""How many images have which (width, height)."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """The files that are images, those in memory or themselves, and a line for each file that is none."""

    images: Pixels | ImageFiles
    files: ImageFiles
    unreadable: tuple[str, ...]

    @property
    def rows(self) -> Rows:
        """Which of all files are images."""
        return self.files.rows


@dataclass(frozen=True)
class Reading:
    """How image files are read: to which (height, width), within how many bytes, by how many processes.

    `memory` None is half of what is available when it comes to it.
    """

    size: tuple[int, int] | None = None
    resize: Resize = "bilinear"
    memory: int | None = None
    workers: int = 0
    skip_broken: bool = False

    def load(self, files: Encoded) -> Loaded:
        """`load_images`. DataError where a file is no image and may not be skipped, or none is one."""
        loaded = load_images(files, self)
        self.require(len(loaded.rows), loaded.unreadable)
        return loaded

    def require(self, n: int, unreadable: Sequence[str]) -> None:
        """DataError where, beside n images, there may not be files that are none."""
        if unreadable and (not self.skip_broken or n == 0):
            hint = " (--skip-broken leaves them out)" if n else ""
            raise DataError(f"{no_images(dict(enumerate(unreadable)))}{hint}")


def load_images(files: Encoded, reading: Reading) -> Loaded:
    """Pixels in one array where they fit into memory, else the files.

    Every file is decoded once in either case, so that what is broken is known before hours of training.
    """
    images = ImageFiles(files, np.arange(len(files)), survey(files, reading))
    room = available_memory() // 2 if reading.memory is None else reading.memory
    pixels = np.empty(images.shape, dtype=np.uint8) if np.prod(images.shape, dtype=np.int64) <= room else None
    broken = decode(images, pixels, reading.workers)
    rows = np.setdiff1d(images.rows, list(broken))
    kept = ImageFiles(files, rows, images.spec)
    return Loaded(kept if pixels is None else compacted(pixels, rows), kept, tuple(broken.values()))


def survey(files: Encoded, reading: Reading) -> InputSpec:
    """What the headers say: the size that most images have, no side above 224 (or the one given); grey or colour."""
    sizes: Sizes = Counter()
    grey, size = True, reading.size
    rows = np.arange(len(files))
    pieces = np.split(rows, range(HEADERS, len(rows), HEADERS))
    with progress() as bars:
        task = bars.add_task("surveying", total=len(rows), note="")
        for piece, found in zip(pieces, in_order(_Headers(files), pieces, reading.workers), strict=True):
            sizes.update(found[0])
            grey = grey and found[1]
            bars.advance(task, len(piece))
    if size is None and sizes:
        (width, height), _ = sizes.most_common(1)[0]
        size = (min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))
    return InputSpec(*size or (1, 1), 1 if grey else 3, reading.resize)


def decode(images: ImageFiles, into: Pixels | None, workers: int) -> dict[int, str]:
    """Decode every file once, into an array of as many images, or only to see that it can be done.

    Returns a line for each row that is no image.
    """
    broken: dict[int, str] = {}
    pieces = pieces_of(np.arange(len(images)), images)
    reader = Reader(images, keep=into is not None)
    with progress() as bars:
        task = bars.add_task("decoding", total=len(images), note="")
        for rows, (pixels, lines) in zip(pieces, in_order(reader, pieces, workers), strict=True):
            if into is not None:
                into[rows] = pixels.numpy()
            broken |= lines
            bars.advance(task, len(rows))
    return broken


def compacted(pixels: Pixels, kept: Rows) -> Pixels:
    """`pixels[kept]`, kept ascending, moved within the same memory: a copy would need as much again."""
    if len(kept) == len(pixels):
        return pixels
    for begin in range(0, len(kept), HEADERS):
        block = kept[begin : begin + HEADERS]
        pixels[begin : begin + len(block)] = pixels[block]
    return pixels[: len(kept)]


@dataclass(frozen=True, eq=False)
class _Headers:
    """What a worker does: reads headers; their sizes, and whether all are grey."""

    files: Encoded

    def __call__(self, rows: Rows) -> tuple[Sizes, bool]:
        sizes: Sizes = Counter()
        grey = True
        with quiet_pillow():
            for row in rows.tolist():
                # Hostile bytes may raise anything; the decoder will name the file and its reason.
                with suppress(Exception), self.files.open(row) as file, Image.open(file, formats=FORMATS) as image:
                    sizes[image.size] += 1
                    grey = grey and image.mode in GREY_MODES
        return sizes, grey
