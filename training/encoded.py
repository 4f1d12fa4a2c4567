"""Image files as values: paths in a folder, or bytes in memory, and the images that are in them."""

import hashlib
import io
import os
import warnings
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from decision import ImageError, InputSpec, UnsupportedImage, read_image
from training.errors import DataError

PIECE_BYTES = 2**20  # with 16 workers, 32 MiB are in flight: a container has 64 MiB of shared memory
PIECE_IMAGES = 256
MOST_SHOWN = 5

Rows: TypeAlias = NDArray[np.int64]
Pixels: TypeAlias = NDArray[np.uint8]
"""`(n, height, width, channels)`."""


class Encoded(Protocol):
    """Image files, in a folder or in memory."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """What messages call it."""
        ...

    def open(self, row: int) -> BinaryIO:
        """Its bytes. Raises OSError or ImageError."""
        ...

    def stamp(self, row: int) -> bytes:
        """What changes when the file does; told without reading from a disk what is in it."""
        ...


def printable(path: str | bytes) -> str:
    """A path as text that any output takes: of a name that is not UTF-8, the odd bytes as `\\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


@dataclass(frozen=True, eq=False)
class Paths:
    """Files below `root`; the path of file i is `blob[offsets[i]:offsets[i + 1]]`, with slashes.

    Two objects for all of them: Path objects, or a list of texts, would need ten times as much, and worker processes
    would copy them by counting references.
    """

    root: str
    blob: bytes
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, root: str, paths: Iterable[str | bytes]) -> "Paths":
        """Of paths below the root, in their order; they may come one by one."""
        blob, offsets = bytearray(), array("q", [0])
        for path in paths:
            blob += os.fsencode(path)
            offsets.append(len(blob))
        return cls(root, bytes(blob), np.array(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        return map(self.path, range(len(self)))

    def path(self, row: int) -> bytes:
        return self.blob[self.offsets[row] : self.offsets[row + 1]]

    def name(self, row: int) -> str:
        return printable(self.path(row))

    def names(self) -> tuple[str, ...]:
        """Of all of them."""
        return tuple(map(printable, self))

    def only(self, wanted: NDArray[np.bool_]) -> "Paths":
        """Those of `wanted` `(N,)`."""
        return self if wanted.all() else Paths.of(self.root, compress(self, wanted))

    def open(self, row: int) -> BinaryIO:
        return open(self._whole(row), "rb")

    def stamp(self, row: int) -> bytes:
        """Path, size and time of modification in nanoseconds."""
        stat = os.stat(self._whole(row))
        return b"%b %d %d" % (self.path(row), stat.st_size, stat.st_mtime_ns)

    def _whole(self, row: int) -> bytes:
        return os.path.join(os.fsencode(self.root), self.path(row))


NO_FILES = Paths.of("", ())


@dataclass(frozen=True, eq=False)
class Contents:
    """Files in memory: what messages call each, and its bytes."""

    names: Sequence[str]
    data: Sequence[bytes] | NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.data)

    def name(self, row: int) -> str:
        return self.names[row]

    def open(self, row: int) -> BinaryIO:
        if not isinstance(data := self.data[row], bytes):  # an array of objects may hold anything
            raise UnsupportedImage(f"expected bytes, got {type(data).__name__}")
        return io.BytesIO(data)

    def stamp(self, row: int) -> bytes:
        return hashlib.sha256(self.open(row).read()).digest()


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The images `rows` of `files`, decoded as `spec` says whenever they are asked for.

    Law: `images[rows]` is what it would be of an array of them all, for row numbers of any shape.
    """

    files: Encoded
    rows: Rows
    spec: InputSpec

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.rows), self.spec.height, self.spec.width, self.spec.channels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Rows | int) -> Pixels:
        wanted = np.asarray(rows)
        if wanted.dtype.kind not in "iu":
            raise TypeError(f"expected row numbers, got {rows!r}")
        pixels, broken = self.read(wanted.reshape(-1))
        if broken:
            raise no_images(broken)
        return pixels.reshape(*wanted.shape, *self.shape[1:])

    def name(self, row: int) -> str:
        """What messages call an image."""
        return self.files.name(int(self.rows[row]))

    def read(self, rows: Rows) -> tuple[Pixels, dict[int, str]]:
        """Pixels, and a line for each row that is no image, whose pixels are 0."""
        pixels = np.zeros((len(rows), *self.shape[1:]), dtype=np.uint8)
        broken: dict[int, str] = {}
        with quiet_pillow():
            for i, row in enumerate(rows.tolist()):
                try:
                    with self.files.open(self.rows[row]) as file:
                        pixels[i] = read_image(file.read(), self.spec)
                except (ImageError, OSError) as error:
                    reason = getattr(error, "strerror", None) or error  # the text of an OSError repeats the path
                    broken[row] = f"{self.name(row)} ({reason})"
        return pixels, broken


@dataclass(frozen=True, eq=False)
class Reader:
    """What a worker does: `images.read`, the pixels as a tensor, which goes through shared memory.

    Without `keep`, only the lines about broken files come back. They are no exceptions, since a worker's would arrive
    as the text of a traceback.
    """

    images: ImageFiles
    keep: bool = True

    def __call__(self, rows: Rows) -> tuple[Tensor, dict[int, str]]:
        pixels, broken = self.images.read(rows)
        return torch.from_numpy(pixels if self.keep else pixels[:0].copy()), broken


def pieces_of(rows: Rows, images: ImageFiles) -> list[Rows]:
    """Rows in order, cut to what a worker decodes at once; one piece where there are none."""
    each = int(np.clip(PIECE_BYTES // np.prod(images.shape[1:]), 1, PIECE_IMAGES))
    return np.split(rows, range(each, len(rows), each))


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Too many pixels: our decoder puts it into words, Pillow would put it on the screen besides."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def no_images(broken: Mapping[int, str]) -> DataError:
    """How many files are broken, and the first five."""
    return DataError(f"{len(broken)} files are no images we read: {'; '.join(list(broken.values())[:MOST_SHOWN])}")
