"""groups.csv: which images of a folder are related, read so that a million lines cost some tens of megabytes."""

import csv
import hashlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.encoded import Paths, printable
from training.errors import DataError

Hashes = NDArray[np.uint64]
"""64 bits for each of `(n,)` texts: the texts of a million files would need hundreds of megabytes."""


@dataclass(frozen=True)
class _Row:
    """A line of the file: where it ends there, counted from 1, and what it says."""

    line: int
    path: bytes
    group: bytes


def read_groups(path: Path, files: Paths, others: Paths) -> NDArray[np.int64]:
    """Group of each of the files `(N,)`, numbered as they come; without a groups.csv each is its own.

    `others` may be named there too. A path is compared without `./`, and with slashes for backslashes. Raises
    DataError, with the line, where a path or a group is empty, a path is that of no file, or a file has two groups; and
    where one of the files has none.
    """
    if not path.is_file():
        return np.arange(len(files))
    paths, groups = bytearray(), bytearray()
    for row in _rows(path):
        paths += _of_path(row.path)
        groups += _hash(row.group)
    named, group, ours = (np.frombuffer(hashes, dtype=np.uint64) for hashes in (paths, groups, _of_paths(files)))
    theirs = np.frombuffer(_of_paths(others), dtype=np.uint64)
    _require_known(path, files, _among(named, np.sort(ours)) | _among(named, np.sort(theirs)))
    order = np.argsort(named, kind="stable")
    named, group = named[order], group[order]
    _require_one_group(path, order, named, group)
    if (missing := ~_among(ours, named)).any():
        first = files.name(int(missing.argmax()))
        raise DataError(f"groups.csv: no group for {missing.sum()} images, the first is {first!r}")
    return numbered(group[np.searchsorted(named, ours)])


def _among(hashes: Hashes, those: Hashes) -> NDArray[np.bool_]:
    """Which of the hashes `(n,)` are among those, which are in order; as `np.isin`, which needs six times as much."""
    if not len(those):
        return np.zeros(len(hashes), dtype=bool)
    among: NDArray[np.bool_] = those[np.searchsorted(those, hashes).clip(max=len(those) - 1)] == hashes
    return among


def _require_known(path: Path, files: Paths, known: NDArray[np.bool_]) -> None:
    """DataError where a row `(n,)` is about no file."""
    if known.all():
        return
    row, n = _row(path, int((~known).argmax())), int((~known).sum())
    more = f" ({n:,} such lines)" if n > 1 else ""
    raise DataError(f"groups.csv, line {row.line}: expected the path of a file, such as {files.name(0)!r}, "
                    f"got {printable(row.path)!r}{more}")  # fmt: skip


def _require_one_group(path: Path, order: NDArray[np.int64], named: Hashes, group: Hashes) -> None:
    """DataError where a path comes again with another group; `named` and `group` are in the `order` of the paths."""
    differ = (named[1:] == named[:-1]) & (group[1:] != group[:-1])
    if not differ.any():
        return
    place = np.flatnonzero(differ)[order[1:][differ].argmin()]
    first, again = _row(path, int(order[place])), _row(path, int(order[place + 1]))
    raise DataError(f"groups.csv, line {again.line}: expected one group for {printable(again.path)!r}, got "
                    f"{printable(again.group)!r} after {printable(first.group)!r} in line {first.line}")  # fmt: skip


def _row(path: Path, index: int) -> _Row:
    """A row read again, since none was kept."""
    return next(islice(_rows(path), index, None))


def _rows(path: Path) -> Iterator[_Row]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        reader = csv.DictReader(lines)
        try:
            if sorted(reader.fieldnames or ()) != ["group", "path"]:
                raise DataError(f"groups.csv: expected the columns path and group, got {reader.fieldnames}")
            for row in reader:
                file, group = row["path"], (row["group"] or "").strip()
                if not file or not group or len(row) > 2:
                    got = [cell for cell in row.values() if cell is not None]
                    raise DataError(f"groups.csv, line {reader.line_num}: expected a path and a group, got {got}")
                yield _Row(reader.line_num, os.fsencode(file), os.fsencode(group))
        except csv.Error as error:
            raise DataError(f"groups.csv, line {reader.line_num}: expected a path and a group, got {error}") from None


def _of_paths(paths: Paths) -> bytearray:
    hashes = bytearray()
    for path in paths:
        hashes += _of_path(path)
    return hashes


def _of_path(path: bytes) -> bytes:
    return _hash(posixpath.normpath(path.replace(b"\\", b"/")))


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def numbered(names: NDArray[np.generic]) -> NDArray[np.int64]:
    """Names `(n,)` as numbers 0, 1, … in the order in which they first come."""
    _, first, index = np.unique(names, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[index]
