import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import noise, png
from training.dataset import Dataset, load_dataset
from training.files import ImageFiles

ROOT = Path(__file__).resolve().parents[2]
N = 6
ARRAY = Dataset("made", ("a", "b", "c"), np.stack([noise(seed) for seed in range(N)]), np.arange(N) % 3, np.arange(N),
                np.repeat(["train", "test"], [4, 2]))  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(N):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.png").write_bytes(png(noise(i)))
    return tmp_path


def fingerprint(folder: Path) -> str:
    return load_dataset(str(folder), memory=0, workers=0).fingerprint()


def changed(values: np.ndarray, last: object) -> np.ndarray:
    return np.concatenate([values[:-1], np.array([last], dtype=values.dtype)])


@pytest.mark.parametrize("change", [
    {"classes": ("a", "b", "d")}, {"labels": changed(ARRAY.labels, 1)}, {"groups": changed(ARRAY.groups, 0)},
    {"parts": changed(ARRAY.parts, "val")}, {"images": changed(ARRAY.images, noise(9))},
    {"images": np.asarray(ARRAY.images).reshape(N, 6, 4, 3)},
])  # fmt: skip
def test_any_change_changes_it(change: dict[str, object]) -> None:
    assert replace(ARRAY, **change).fingerprint() != ARRAY.fingerprint()  # type: ignore[arg-type]


def test_what_training_does_not_see_does_not_change_it() -> None:
    same = replace(ARRAY, name="other", images=np.asfortranarray(ARRAY.images), parts=ARRAY.parts.astype("U9"))
    assert same.fingerprint() == ARRAY.fingerprint()
    assert len(ARRAY.fingerprint()) == 16


def test_it_is_the_same_in_another_process(folder: Path) -> None:
    code = "import sys; from training.dataset import load_dataset as l; "
    code += "print(l('digits').fingerprint(), l(sys.argv[1], memory=0, workers=0).fingerprint())"
    command = [sys.executable, "-c", code, str(folder)]
    other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert other == [load_dataset("digits").fingerprint(), fingerprint(folder)]


def test_of_files_their_times_sizes_and_names_count(folder: Path) -> None:
    seen = [fingerprint(folder)]
    file = folder / "a" / "2.png"
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    seen.append(fingerprint(folder))
    file.write_bytes(file.read_bytes() + b"\0")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    seen.append(fingerprint(folder))
    file.rename(folder / "a" / "3.png")
    seen.append(fingerprint(folder))
    assert len(set(seen)) == 4
    assert fingerprint(folder) == seen[-1]


def test_files_are_not_read_for_it(folder: Path) -> None:
    dataset = load_dataset(str(folder), memory=0, workers=0)
    file = folder / "a" / "2.png"
    stat, before = file.stat(), dataset.fingerprint()
    file.write_bytes(bytes(stat.st_size))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert dataset.fingerprint() == before


def test_merged_labels_are_another_fingerprint_of_the_same_images() -> None:
    merged = ARRAY.merged({"x": ["a", "c"]})
    assert merged.classes == ("x", "b")
    assert merged.labels.tolist() == [0, 1, 0] * 2
    assert merged.images is ARRAY.images
    assert merged.fingerprint() != ARRAY.fingerprint()


def test_files_have_one_fingerprint_whether_they_fit_into_memory_or_not(folder: Path) -> None:
    kept, streamed = (load_dataset(str(folder), memory=memory, workers=0) for memory in (2**30, 0))
    assert isinstance(kept.images, np.ndarray)
    assert isinstance(streamed.images, ImageFiles)
    assert kept.fingerprint() == streamed.fingerprint()
