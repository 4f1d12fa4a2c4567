import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import noise, png
from training.dataset import load_dataset
from training.errors import DataError
from training.files import ImageFiles
from training.folder import list_folder, numbered


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(png(noise(len(file))))
    return root


def names(root: Path) -> list[str]:
    files = list_folder(root).files
    return [files.name(i) for i in range(len(files))]


def test_the_order_is_that_of_sorted_paths(tmp_path: Path) -> None:
    """A file, a folder and a name between them: "a.png" < "a/…" as texts, and the other way round as paths."""
    tree(tmp_path, "b/z.png", "a/b/2.png", "a/b.png", "a/b-c/1.png", "a/b/10.png", "a/ä.png", "a-b/x.png", "Z/1.png")
    expected = sorted(path for path in tmp_path.glob("*/**/*") if path.is_file())
    assert names(tmp_path) == [path.relative_to(tmp_path).as_posix() for path in expected]


def test_hidden_ones_and_files_beside_the_classes_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "b/.x.png", "b/.cache/1.png", ".git/1.png", "cover.png", "groups.csv.png")
    (tmp_path / "empty").mkdir()
    assert names(tmp_path) == ["a/1.png", "b/1.png"]
    assert list_folder(tmp_path).classes == ("a", "b")


def test_a_class_may_be_a_link_and_a_loop_does_no_harm(tmp_path: Path) -> None:
    tree(tmp_path, "data/a/1.png", "elsewhere/1.png", "elsewhere/2.png")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/loop").symlink_to(tmp_path / "data")
    assert names(tmp_path / "data") == ["a/1.png", "b/1.png", "b/2.png"]


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/1.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff.png"))
    dataset = load_dataset(str(tmp_path), workers=0, memory=0)
    np.testing.assert_array_equal(dataset.images[np.array([0])][0], noise(7))


def test_groups_are_matched_by_path(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.png")
    for text in ("path,group\nb/4.png,y\na/1.png,x\nb/3.png,x\na/2.png,y\nno/file.png,z\n",
                 "\ufeffgroup,path\nz,b/4.png\nx,a/1.png\nx,b/3.png\ny,a/2.png\ny,b/4.png\n"):  # fmt: skip
        (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
        assert list_folder(tmp_path).groups.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [("path,group\n", "no group for 2 images, the first is 'a/1.png'"), ("", "got None"),
     ("path,group\na/1.png,x\nb/1.png\n", "expected a path and a group in line 3")],
)  # fmt: skip
def test_groups_that_cannot_be_are_refused(tmp_path: Path, text: str, says: str) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        list_folder(tmp_path)


@given(st.lists(st.sampled_from("abcd")))
def test_numbers_are_in_the_order_of_first_coming(letters: list[str]) -> None:
    known: dict[str, int] = {}
    assert numbered(np.array(letters, dtype=str)).tolist() == [known.setdefault(c, len(known)) for c in letters]


def test_a_folder_is_the_same_from_files_and_from_memory(tmp_path: Path) -> None:
    tree(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "val/a/44.png", "test/b/555.png")
    kept, files = (load_dataset(str(tmp_path), memory=memory, workers=1) for memory in (None, 0))
    assert isinstance(files.images, ImageFiles)
    np.testing.assert_array_equal(files.images[np.arange(5)], kept.images)
    for name in ("labels", "groups", "parts"):
        np.testing.assert_array_equal(getattr(files, name), getattr(kept, name))
    assert (files.classes, files.input, files.images.shape) == (kept.classes, kept.input, kept.images.shape)


@pytest.mark.parametrize("memory", [None, 0])
def test_what_is_broken_is_left_out_everywhere(tmp_path: Path, memory: int | None) -> None:
    tree(tmp_path, "a/1.png", "a/22.png", "b/333.png", "b/4444.png")
    (tmp_path / "a/22.png").write_bytes(b"no image")
    (tmp_path / "groups.csv").write_text("path,group\na/1.png,x\na/22.png,y\nb/333.png,z\nb/4444.png,z\n")
    with pytest.raises(DataError, match=r"1 files are no images we read: a/22\.png"):
        load_dataset(str(tmp_path), memory=memory, workers=0)
    dataset = load_dataset(str(tmp_path), memory=memory, workers=0, skip_broken=True)
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.groups[1] == dataset.groups[2] != dataset.groups[0]
    assert len(dataset.parts) == len(dataset.images) == 3
    np.testing.assert_array_equal(dataset.images[np.array([2])][0], noise(10))
    assert [line.split()[0] for line in dataset.unreadable] == ["a/22.png"]


def test_a_merge_that_cannot_be_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    (tmp_path / "a/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"got \['owl'\]"):
        load_dataset(str(tmp_path), merge={"birds": ["a", "owl"]})
