"""A folder of class folders, listed so that a million files cost some tens of megabytes."""

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decision.errors import listed
from decision.images import sniff
from training.encoded import Paths, printable
from training.errors import DataError
from training.groups import read_groups

PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folder of a part may be called, in any case."""
UNREAD_SUFFIXES = frozenset({b".heic", b".heif", b".jxl", b".svg", b".dcm"})
"""Of images that Pillow does not know."""


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a folder; class, group and part of each, all `(N,)`; and the files that are no images."""

    classes: tuple[str, ...]
    files: Paths
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]
    not_images: Paths


def list_folder(path: Path) -> Listing:
    """The files of `class/…/file`, or of `train/class/…/file` with the folders of `val` and `test` beside it.

    They are in the order of their path's parts. Hidden files and folders are left out, and files in no class folder; a
    link to a class folder is followed, a link to a folder within it is not. Raises DataError where a part has no image,
    a class is in no train/, or a folder beside train/ is no part.
    """
    walk, where = _Walk(os.fsencode(path.absolute())), printable(path.absolute().name)
    roots = _roots(where, walk.folders(b""))
    walked = [(part, name, walk.into(root + name)) for part, root in roots.items() for name in walk.folders(root)]
    files = walk.paths()
    is_image = np.fromiter((_is_image(files, row) for row in range(len(files))), dtype=bool, count=len(files))
    images, not_images = files.only(is_image), files.only(~is_image)
    ends = np.cumsum([n for _, _, n in walked], dtype=np.int64)
    counts = [int(part.sum()) for part in np.split(is_image, ends)]  # and 0, of what comes after the last
    found = [(part, _class_name(where, name), n) for (part, name, _), n in zip(walked, counts, strict=False) if n]
    _require_images(where, roots, {part for part, _, _ in found}, not_images)
    classes = tuple(sorted({name for part, name, _ in found if part == "train"}))
    if strangers := sorted({name for _, name, _ in found} - set(classes)):
        raise DataError(f"{where}: classes {listed(strangers)} are not among train/'s {listed(classes)}")
    code = {name: k for k, name in enumerate(classes)}
    of = np.repeat(np.arange(len(found)), [n for _, _, n in found])
    labels, parts = np.array([code[name] for _, name, _ in found]), np.array([part for part, _, _ in found])
    groups = read_groups(path / "groups.csv", images, not_images)
    return Listing(classes, images, labels[of], groups, parts[of], not_images)


def _roots(where: str, folders: Sequence[bytes]) -> dict[str, bytes]:
    """The folder of each part; of a folder of class folders, that itself is train."""
    part_of = {folder: next((part for part, names in PARTS.items() if os.fsdecode(folder).lower() in names), None)
               for folder in folders}  # fmt: skip
    named = {part: [folder for folder in folders if part_of[folder] == part] for part in PARTS}
    if twice := [folders for folders in named.values() if len(folders) > 1]:
        raise DataError(f"{where}: expected one folder for each of train, val and test, got {_slashed(twice[0])}")
    if not named["train"]:
        if (named["val"] and named["test"]) or (folders and None not in part_of.values()):
            raise DataError(f"{where}: expected train/ beside {_slashed(chain(*named.values()))}, got none")
        return {"train": b""}
    if strangers := [folder for folder in folders if part_of[folder] is None]:
        raise DataError(f"{where}: expected train/, val/ and test/ only, got {_slashed(strangers)} beside them "
                        "(a class cannot be called train)")  # fmt: skip
    return {part: folders[0] + b"/" for part, folders in named.items() if folders}


def _slashed(folders: Iterable[bytes]) -> str:
    names = [f"{printable(folder)}/" for folder in folders]
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _require_images(where: str, roots: dict[str, bytes], parts: set[str], not_images: Paths) -> None:
    """DataError where a part has no image in a class folder."""
    if not (empty := [root for part, root in roots.items() if part not in parts]):
        return
    others = (
        f"; of {len(not_images):,} files that are no images, the first is {not_images.name(0)!r}" if not_images else ""
    )
    raise DataError(f"{where}: expected class folders with images in {printable(empty[0]) or 'it'}, got none{others}")


def _class_name(where: str, folder: bytes) -> str:
    try:
        return folder.decode()
    except UnicodeDecodeError:
        raise DataError(f"{where}: expected names of classes in UTF-8, got the folder {printable(folder)!r}") from None


def _is_image(files: Paths, row: int) -> bool:
    """Whether its name ends like that of an image, or else it begins like one; the decoder names what is broken."""
    if os.path.splitext(files.path(row))[1].lower() in _suffixes():
        return True
    try:
        with files.open(row) as file:
            return sniff(file.read(12)) is not None
    except OSError:
        return True


@lru_cache
def _suffixes() -> frozenset[bytes]:
    return UNREAD_SUFFIXES.union(map(str.encode, Image.registered_extensions()))


class _Walk:
    """Collects the files of one folder after another."""

    def __init__(self, root: bytes) -> None:
        self._root, self._blob, self._offsets = root, bytearray(), array("q", [0])

    def folders(self, below: bytes) -> list[bytes]:
        """Names of the folders in a folder, sorted."""
        with os.scandir(os.path.join(self._root, below)) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(b".") and entry.is_dir())

    def into(self, folder: bytes) -> int:
        """Collect all files below a folder; how many there are."""
        folders, names = set(), []
        with os.scandir(os.path.join(self._root, folder)) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.add(entry.name)
                elif not entry.is_file():
                    continue
                names.append(entry.name)
        before = len(self._offsets)
        names.sort()
        for name in names:
            if name in folders:
                self.into(folder + b"/" + name)
            else:
                self._blob += folder + b"/" + name
                self._offsets.append(len(self._blob))
        return len(self._offsets) - before

    def paths(self) -> Paths:
        return Paths(os.fsdecode(self._root), bytes(self._blob), np.array(self._offsets, dtype=np.int64))
