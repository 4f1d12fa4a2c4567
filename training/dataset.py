"""A data set: images and what is known of each; and the places it comes from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decision import InputSpec, to_input
from decision.images import Resize
from training.decoding import Reading
from training.encoded import NO_FILES, Paths, printable
from training.errors import DataError
from training.files import ImageFiles, Images, default_workers
from training.folder import list_folder
from training.merge import merge_classes, parse_merge
from training.npz import read_npz

__all__ = ["FLIPS", "DataError", "Dataset", "Flips", "load_dataset", "parse_merge"]

Flips = Literal["none", "horizontal", "vertical", "both"]
FLIPS: tuple[Flips, ...] = get_args(Flips)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Uint8 images `(N, height, width, channels)`, in memory or in files, and what is known of each, all `(N,)`.

    `parts` says where the source put an image ("train", "val" or "test"); images of one of `groups` are
    related and stay together; `flips` are those that keep every label. `files` are those that images in memory come
    from. Left out were `not_images`, and of the files that should be images those that cannot be read: `unreadable` has
    a line, name and reason, for each.
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]
    flips: Flips = "none"
    resize: Resize = "bilinear"
    files: ImageFiles | None = None
    unreadable: tuple[str, ...] = ()
    not_images: Paths = NO_FILES
    stamp: bytes = b""
    """What stands for the pixels in `fingerprint`, where they come from files; else empty."""

    @property
    def input(self) -> InputSpec:
        _, height, width, channels = self.images.shape
        return InputSpec(height, width, 3 if channels == 3 else 1, self.resize)

    def counts(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
        """Images of each class among the rows, `(K,)`."""
        return np.bincount(self.labels[rows], minlength=len(self.classes))

    def image_name(self, row: int) -> str:
        """What messages call an image: its file, or else its part and its place there, counted from 0."""
        if (files := self.images if isinstance(self.images, ImageFiles) else self.files) is not None:
            return files.name(row)
        part = self.parts[row]
        return f"{part}[{np.count_nonzero(self.parts[:row] == part)}]"

    def merged(self, merges: Mapping[str, Sequence[str]]) -> "Dataset":
        """Classes as `merge_classes` has them; the images are the same. Raises DataError."""
        classes, codes = merge_classes(self.classes, merges)
        return replace(self, classes=classes, labels=codes[self.labels])

    def fingerprint(self) -> str:
        """16 hex digits of all that training sees: classes, labels, groups, parts and pixels.

        Names, sizes and times of modification stand for the pixels of files, whether these are in memory or not.
        """
        digest = hashlib.sha256()
        for part in self._identity():
            digest.update(memoryview(part).nbytes.to_bytes(8, "little"))  # else "ab", "c" would be "a", "bc"
            digest.update(part)
        return digest.hexdigest()[:16]

    def _identity(self) -> Iterator[bytes | memoryview]:
        yield json.dumps([self.classes, self.images.shape]).encode()
        yield self.labels.astype("<i8").tobytes()
        yield self.groups.astype("<i8").tobytes()
        yield self.parts.astype("S5").tobytes()
        if self.stamp:
            yield self.stamp
        elif isinstance(self.images, ImageFiles):
            yield from map(self.images.files.stamp, self.images.rows)
        else:
            yield np.ascontiguousarray(self.images).data


def load_dataset(
    source: str, *, size: tuple[int, int] | None = None, resize: Resize = "bilinear", flips: Flips | None = None,
    merge: Mapping[str, Sequence[str]] | None = None, memory: int | None = None, workers: int | None = None,
    skip_broken: bool = False,
) -> Dataset:  # fmt: skip
    """Load DATA as the command line names it.

    `size` (height, width) resizes, as `resize` says, `flips` overrules the data set, `merge` makes one class of
    several. The images of a folder stay in their files where they would need more than `memory` bytes, by default half
    of what is available. Files are decoded by `workers` processes, by default one for each other core. Those that are
    broken are left out with `skip_broken`, else they raise DataError.
    """
    reading = Reading(size, resize, memory, default_workers() if workers is None else workers, skip_broken)
    if source == "digits":
        dataset = _digits()
    elif source in _TORCHVISION:
        dataset = _torchvision(source)
    elif Path(source).is_dir():
        dataset = _folder(Path(source), reading, merge or {})
    elif Path(source).suffix == ".npz" and Path(source).is_file():
        dataset = _npz(Path(source), reading)
    else:
        expected = ", ".join(["digits", *_TORCHVISION])
        there = "" if Path(source).exists() else ": there is no such file or folder"
        raise DataError(f"expected one of {expected}, a folder of class folders or an .npz, got {source!r}{there}")
    dataset = dataset.merged(merge or {})
    images = dataset.images if size is None else _resized(dataset.images, size)
    return replace(dataset, images=images, resize=resize, flips=flips or dataset.flips)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    n = len(images)
    return Dataset("digits", tuple("0123456789"), images, digits.target.astype(np.int64), np.arange(n),
                   np.full(n, "train"))  # fmt: skip


_TORCHVISION: dict[str, tuple[str, Flips]] = {
    "mnist": ("MNIST", "none"),
    "fashion-mnist": ("FashionMNIST", "horizontal"),
    "cifar10": ("CIFAR10", "horizontal"),
    "cifar100": ("CIFAR100", "horizontal"),
}


def _torchvision(name: str) -> Dataset:
    import torchvision

    kind, flips = _TORCHVISION[name]
    root = Path.home() / ".cache" / "equipoise"
    try:
        halves = [getattr(torchvision.datasets, kind)(root, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} could not be downloaded: {error}") from None
    images = np.concatenate([np.asarray(half.data) for half in halves])
    labels = np.concatenate([np.asarray(half.targets) for half in halves]).astype(np.int64)
    parts = np.repeat(["train", "test"], [len(half) for half in halves])
    classes = tuple(str(c).split(" - ")[0] for c in halves[0].classes)
    images = images[..., None] if images.ndim == 3 else images
    return Dataset(name, classes, images, labels, np.arange(len(labels)), parts, flips)


def _folder(path: Path, reading: Reading, merge: Mapping[str, Sequence[str]]) -> Dataset:
    found = list_folder(path)
    merge_classes(found.classes, merge)  # whose error shall not wait until all is decoded
    loaded = reading.load(found.files)
    rows = loaded.rows
    stamp = hashlib.sha256(b"".join(hashlib.sha256(found.files.stamp(row)).digest() for row in rows.tolist()))
    return Dataset(printable(path.resolve().name), found.classes, loaded.images, found.labels[rows], found.groups[rows],
                   found.parts[rows], files=loaded.files, unreadable=loaded.unreadable, not_images=found.not_images,
                   stamp=stamp.digest())  # fmt: skip


def _npz(path: Path, reading: Reading) -> Dataset:
    found = read_npz(path, reading)
    return Dataset(path.stem, found.classes, found.images, found.labels, found.groups, found.parts,
                   unreadable=found.unreadable)  # fmt: skip


def _resized(images: Images, size: tuple[int, int]) -> Images:
    if isinstance(images, ImageFiles) or images.shape[1:3] == size:
        return images
    spec = InputSpec(*size, 3 if images.shape[3] == 3 else 1)
    resized = np.empty((len(images), *size, spec.channels), dtype=np.uint8)
    for pixels, image in zip(resized, images, strict=True):
        pixels[:] = to_input(Image.fromarray(image[..., 0] if spec.channels == 1 else image), spec)
    return resized
