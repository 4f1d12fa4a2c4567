"""A folder of class folders, listed so that a million files cost some tens of megabytes."""

import csv
import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decision.errors import listed
from training.encoded import Paths
from training.errors import DataError

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a folder; class, group and part of each, all `(N,)`."""

    classes: tuple[str, ...]
    files: Paths
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]


def list_folder(path: Path) -> Listing:
    """The files of `class/…/file`, or of `train/class/…/file` with `val/` and `test/` beside it.

    They are in the order of their path's parts. Hidden files and folders are left out; a link to a class folder is
    followed, a link to a folder within it is not. Raises DataError where there is no image, or a class is in no train/.
    """
    there = [part for part in PARTS if (path / part).is_dir()]
    roots = {part: part.encode() + b"/" for part in there} if "train" in there else {"train": b""}
    walk = _Walk(os.fsencode(path.absolute()))
    found = [(part, name, walk.into(root + name)) for part, root in roots.items() for name in walk.folders(root)]
    found = [(part, os.fsdecode(name), n) for part, name, n in found if n]
    if not found:
        raise DataError(f"{path.name}: expected class folders with images in them, got none")
    classes = tuple(sorted({name for part, name, _ in found if part == "train"}))
    if strangers := sorted({name for _, name, _ in found} - set(classes)):
        raise DataError(f"{path.name}: classes {listed(strangers)} are not among train/'s {listed(classes)}")
    code = {name: k for k, name in enumerate(classes)}
    counts = [n for _, _, n in found]
    files = walk.paths()
    return Listing(
        classes, files, np.repeat([code[name] for _, name, _ in found], counts), _groups(path / "groups.csv", files),
        np.repeat([part for part, _, _ in found], counts),
    )  # fmt: skip


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


def _groups(path: Path, files: Paths) -> NDArray[np.int64]:
    """Group of each file, numbered as they come; without a groups.csv each is its own.

    Paths and groups are compared by 64 bits of a hash: as texts, those of a million files would need hundreds of
    megabytes.
    """
    if not path.is_file():
        return np.arange(len(files))
    known, group = bytearray(), bytearray()
    for file, name in _rows(path):
        known += _hash(os.fsencode(file))
        group += _hash(os.fsencode(name))
    hashes = np.frombuffer(known, dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    ours = np.frombuffer(b"".join(_hash(files.path(row)) for row in range(len(files))), dtype=np.uint64)
    place = np.searchsorted(hashes[order], ours, side="right") - 1  # of a file that is there twice, the last
    missing = (place < 0) | (hashes[order][place] != ours) if len(order) else np.ones(len(ours), dtype=bool)
    if missing.any():
        first = files.name(int(missing.argmax()))
        raise DataError(f"groups.csv: no group for {missing.sum()} images, the first is {first!r}")
    return numbered(np.frombuffer(group, dtype=np.uint64)[order][place])


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        reader = csv.DictReader(lines)
        if set(reader.fieldnames or ()) != {"path", "group"}:
            raise DataError(f"groups.csv: expected the columns path and group, got {reader.fieldnames}")
        for row in reader:
            if row["path"] is None or row["group"] is None:
                raise DataError(f"groups.csv: expected a path and a group in line {reader.line_num}")
            yield row["path"], row["group"]


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def numbered(names: NDArray[np.generic]) -> NDArray[np.int64]:
    """Names `(n,)` as numbers 0, 1, … in the order in which they first come."""
    _, first, index = np.unique(names, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[index]
