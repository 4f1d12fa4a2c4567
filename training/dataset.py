"""A data set in memory, and the places it comes from: digits, torchvision, a folder, an .npz."""

import csv
import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from decision import ImageError, InputSpec, read_image, to_input
from training.errors import DataError

Flips = Literal["none", "horizontal", "vertical", "both"]
FLIPS: tuple[Flips, ...] = get_args(Flips)
LARGEST_SIDE = 224
GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L"})


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as one uint8 array `(N, height, width, channels)` and what is known of each, all `(N,)`.

    `parts` says where the source put an image ("train", "val" or "test"); images of one of `groups` are
    related and stay together; `flips` are those that keep every label.
    """

    name: str
    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]
    flips: Flips = "none"

    @property
    def input(self) -> InputSpec:
        _, height, width, channels = self.images.shape
        return InputSpec(height, width, 3 if channels == 3 else 1)


def load_dataset(source: str, *, size: tuple[int, int] | None = None, flips: Flips | None = None) -> Dataset:
    """Load DATA as the command line names it; `size` (height, width) resizes, `flips` overrules the data set."""
    if source == "digits":
        dataset = _digits()
    elif source in _TORCHVISION:
        dataset = _torchvision(source)
    elif Path(source).is_dir():
        dataset = _folder(Path(source), size)
    elif Path(source).suffix == ".npz" and Path(source).is_file():
        dataset = _npz(Path(source), size)
    else:
        expected = ", ".join(["digits", *_TORCHVISION])
        there = "" if Path(source).exists() else ": there is no such file or folder"
        raise DataError(f"expected one of {expected}, a folder of class folders or an .npz, got {source!r}{there}")
    if len(dataset.classes) < 2 or len(set(dataset.classes)) < len(dataset.classes):
        raise DataError(f"expected at least two distinct classes, got {list(dataset.classes)}")
    images = dataset.images if size is None else _resized(dataset.images, size)
    return replace(dataset, images=images, flips=flips or dataset.flips)


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
    return Dataset(name, classes, _with_channels(images), labels, np.arange(len(labels)), parts, flips)


def _npz(path: Path, size: tuple[int, int] | None) -> Dataset:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {Path(name).stem: _array(archive, name) for name in archive.namelist() if name.endswith(".npy")}
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path.name}: expected an .npz of plain arrays, got {error}") from None
    needed = ("x_train", "y_train", "x_test", "y_test", "classes")
    if missing := [name for name in needed if name not in arrays]:
        raise DataError(f"{path.name}: expected the arrays {', '.join(needed)}; {', '.join(missing)} is missing")
    classes = tuple(map(str, arrays["classes"].tolist()))
    if any(arrays[name].ndim != 1 or arrays[name].size == 0 for name in ("y_train", "y_test")):
        shapes = ", ".join(str(arrays[name].shape) for name in ("y_train", "y_test"))
        raise DataError(f"{path.name}: expected y_train and y_test of shape (n,) with n ≥ 1, got {shapes}")
    labels = np.concatenate([arrays["y_train"], arrays["y_test"]])
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"{path.name}: expected integer labels 0 to {len(classes) - 1} in y_train and y_test, got "
                        f"{labels.dtype} {labels.min()} to {labels.max()}")  # fmt: skip
    images = [_pixels(arrays[name], name, path.name, size) for name in ("x_train", "x_test")]
    for half, part in zip(images, ("train", "test"), strict=True):
        if len(half) != len(arrays[f"y_{part}"]):
            raise DataError(f"{path.name}: x_{part} has {len(half)} images, y_{part} {len(arrays[f'y_{part}'])} labels")
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"{path.name}: x_train has images {images[0].shape[1:]}, x_test {images[1].shape[1:]}")
    parts = np.repeat(["train", "test"], [len(half) for half in images])
    groups = [arrays.get(f"group_{part}") for part in ("train", "test")]
    return Dataset(path.stem, classes, np.concatenate(images), labels.astype(np.int64),
                   _codes(groups, [len(half) for half in images]), parts)  # fmt: skip


def _codes(groups: Sequence[NDArray[Any] | None], lengths: Sequence[int]) -> NDArray[np.int64]:
    """Groups as integers; an image of a part without groups is a group of its own."""
    names: list[object] = []
    for part, (given, length) in enumerate(zip(groups, lengths, strict=True)):
        if given is not None and len(given) != length:
            raise DataError(f"expected a group for each of {length} images, got {len(given)}")
        names += [(part, i) for i in range(length)] if given is None else given.tolist()
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


class _ArraysOnly(pickle.Unpickler):
    """An object array of bytes needs a pickle; this one can build arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.removeprefix("numpy.").lstrip("_"), name) in {
            ("core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")
        }:  # fmt: skip
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"an object array may hold bytes only, not {module}.{name}")


def _array(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(file)
        if dtype.hasobject:
            return np.asarray(_ArraysOnly(file).load())
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _pixels(array: NDArray[Any], name: str, where: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if array.dtype == object:
        files: list[tuple[str, Path | bytes]] = [(f"{where}: {name}[{i}]", bytes(data)) for i, data in enumerate(array)]
        return _decoded(files, size)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(f"{where}: expected {name} to be uint8 N×H×W, N×H×W×1 or N×H×W×3, got {array.dtype} "
                        f"{'×'.join(map(str, array.shape))}")  # fmt: skip
    return _with_channels(array)


def _with_channels(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images[..., None] if images.ndim == 3 else images


def _folder(path: Path, size: tuple[int, int] | None) -> Dataset:
    roots = {part: path / part for part in ("train", "val", "test") if (path / part).is_dir()}
    if "train" not in roots:
        roots = {"train": path}
    listed = [(part, file) for part, root in roots.items() for file in sorted(root.glob("*/**/*")) if file.is_file()]
    listed = [(part, file) for part, file in listed if not file.name.startswith(".")]
    if not listed:
        raise DataError(f"{path.name}: expected class folders with images in them, got none")
    names = [file.relative_to(roots[part]).parts[0] for part, file in listed]
    classes = tuple(sorted({name for (part, _), name in zip(listed, names, strict=True) if part == "train"}))
    if strangers := sorted(set(names) - set(classes)):
        raise DataError(f"{path.name}: classes {strangers} are not among train/'s {list(classes)}")
    images = _decoded([(str(file.relative_to(path)), file) for _, file in listed], size)
    groups = _groups_csv(path / "groups.csv", [file.relative_to(path).as_posix() for _, file in listed])
    parts = np.array([part for part, _ in listed])
    labels = np.array([classes.index(name) for name in names], dtype=np.int64)
    return Dataset(path.resolve().name, classes, images, labels, groups, parts)


def _groups_csv(path: Path, files: Sequence[str]) -> NDArray[np.int64]:
    if not path.is_file():
        return np.arange(len(files))
    with path.open(newline="") as rows:
        reader = csv.DictReader(rows)
        if set(reader.fieldnames or ()) != {"path", "group"}:
            raise DataError(f"groups.csv: expected the columns path and group, got {reader.fieldnames}")
        group_of = {row["path"]: row["group"] for row in reader}
    if missing := [file for file in files if file not in group_of]:
        raise DataError(f"groups.csv: no group for {len(missing)} images, the first is {missing[0]!r}")
    return _codes([np.array([group_of[file] for file in files])], [len(files)])


def _decoded(files: Sequence[tuple[str, Path | bytes]], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Decode all files to one array: of `size`, or of the size most of them have, no side above 224.

    Headers are read first, so that no more than one image is in memory at its own size.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for _, file in tqdm(files, desc="surveying", unit="image", leave=False):
        # What cannot be opened is named below, by the decoder and with its reason.
        with (
            suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError),
            Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image,
        ):
            sizes[image.size] += 1
            grey = grey and image.mode in GREY_MODES
    if size is None and sizes:
        (width, height), _ = sizes.most_common(1)[0]
        size = (min(height, LARGEST_SIDE), min(width, LARGEST_SIDE))
    pixels: list[NDArray[np.uint8]] = []
    broken: list[str] = []
    for name, file in tqdm(files, desc="decoding", unit="image", leave=False):
        try:
            data = file if isinstance(file, bytes) else file.read_bytes()
            pixels.append(read_image(data, InputSpec(*size or (1, 1), 1 if grey else 3)))
        except ImageError as error:
            broken.append(f"{name} ({error})")
    if broken:
        raise DataError(f"{len(broken)} files are no images we read: {'; '.join(broken[:5])}")
    return np.stack(pixels)


def _resized(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    spec = InputSpec(*size, 3 if images.shape[3] == 3 else 1)
    if images.shape[1:3] == size:
        return images
    grey = images.shape[3] == 1
    return np.stack([to_input(Image.fromarray(image[..., 0] if grey else image), spec) for image in images])
