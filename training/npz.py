"""An .npz of images and labels, read without executing anything that is in it."""

import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.decoding import Reading, compacted, decode, survey
from training.encoded import Contents, ImageFiles
from training.errors import DataError

HALVES = ("train", "test")
NEEDED = ("x_train", "y_train", "x_test", "y_test", "classes")


@dataclass(frozen=True, eq=False)
class Archive:
    """What an .npz holds: images `(N, height, width, channels)`; label, group and part of each, all `(N,)`."""

    classes: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]
    unreadable: tuple[str, ...]


def read_npz(path: Path, reading: Reading) -> Archive:
    """Read an .npz whose arrays are those of `NEEDED`, and maybe `group_train` and `group_test`.

    Images are uint8 arrays, or encoded files in object arrays, which are decoded to one array in memory.
    """
    arrays = _arrays(path)
    if missing := [name for name in NEEDED if name not in arrays]:
        raise DataError(f"{path.name}: expected the arrays {', '.join(NEEDED)}; {', '.join(missing)} is missing")
    classes = tuple(map(str, arrays["classes"].tolist()))
    labels = _labels(arrays, len(classes), path.name)
    lengths = [len(arrays[f"y_{half}"]) for half in HALVES]
    for half, n in zip(HALVES, lengths, strict=True):
        if len(x := np.atleast_1d(arrays[f"x_{half}"])) != n:
            raise DataError(f"{path.name}: x_{half} has {len(x)} images, y_{half} {n} labels")
    groups = _codes([arrays.get(f"group_{half}") for half in HALVES], lengths)
    parts = np.repeat(HALVES, lengths)
    halves = [_encoded(arrays[f"x_{half}"], f"x_{half}", path.name) for half in HALVES]
    images, broken = _images(halves, path.name, reading)
    kept = np.setdiff1d(np.arange(len(images)), list(broken))
    reading.require(len(kept), tuple(broken.values()))
    return Archive(classes, compacted(images, kept), labels[kept], groups[kept], parts[kept], tuple(broken.values()))


class _ArraysOnly(pickle.Unpickler):
    """An object array of bytes needs a pickle; this one can build arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.removeprefix("numpy.").lstrip("_"), name) in {
            ("core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")
        }:  # fmt: skip
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"an object array may hold bytes only, not {module}.{name}")


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(name).stem: _array(archive, name) for name in archive.namelist() if name.endswith(".npy")}
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path.name}: expected an .npz of plain arrays, got {error}") from None


def _array(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(file)
        if dtype.hasobject:
            return np.asarray(_ArraysOnly(file).load())
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _labels(arrays: dict[str, NDArray[Any]], n_classes: int, where: str) -> NDArray[np.int64]:
    halves = [arrays[f"y_{half}"] for half in HALVES]
    if any(half.ndim != 1 or half.size == 0 for half in halves):
        shapes = ", ".join(str(half.shape) for half in halves)
        raise DataError(f"{where}: expected y_train and y_test of shape (n,) with n ≥ 1, got {shapes}")
    labels = np.concatenate(halves)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(f"{where}: expected integer labels 0 to {n_classes - 1} in y_train and y_test, got "
                        f"{labels.dtype} {labels.min()} to {labels.max()}")  # fmt: skip
    return labels.astype(np.int64)


def _encoded(array: NDArray[Any], name: str, where: str) -> NDArray[np.uint8] | Contents:
    if array.dtype == object and array.ndim == 1:
        return Contents([f"{where}: {name}[{i}]" for i in range(len(array))], array)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(f"{where}: expected {name} to be uint8 N×H×W, N×H×W×1 or N×H×W×3, got {array.dtype} "
                        f"{'×'.join(map(str, array.shape))}")  # fmt: skip
    return array[..., None] if array.ndim == 3 else array


def _images(
    halves: Sequence[NDArray[np.uint8] | Contents], where: str, reading: Reading
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """All images in one array, and a line for each row of it that is none."""
    files = [_surveyed(half, reading) if isinstance(half, Contents) else half for half in halves]
    if files[0].shape[1:] != files[1].shape[1:]:
        raise DataError(f"{where}: x_train has images {files[0].shape[1:]}, x_test {files[1].shape[1:]}")
    pixels = np.empty((len(files[0]) + len(files[1]), *files[0].shape[1:]), dtype=np.uint8)
    broken: dict[int, str] = {}
    for begin, half in zip((0, len(files[0])), files, strict=True):
        place = pixels[begin : begin + len(half)]
        if isinstance(half, ImageFiles):
            broken |= {begin + row: line for row, line in decode(half, place, reading.workers).items()}
        else:
            place[:] = half
    return pixels, broken


def _surveyed(files: Contents, reading: Reading) -> ImageFiles:
    return ImageFiles(files, np.arange(len(files)), survey(files, reading))


def _codes(groups: Sequence[NDArray[Any] | None], lengths: Sequence[int]) -> NDArray[np.int64]:
    """Groups as integers; an image of a part without groups is a group of its own."""
    names: list[object] = []
    for part, (given, length) in enumerate(zip(groups, lengths, strict=True)):
        if given is not None and len(given) != length:
            raise DataError(f"expected a group for each of {length} images, got {len(given)}")
        names += [(part, i) for i in range(length)] if given is None else given.tolist()
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
