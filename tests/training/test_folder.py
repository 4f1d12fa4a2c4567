import os
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import noise, png
from training.dataset import load_dataset
from training.errors import DataError
from training.files import ImageFiles
from training.folder import list_folder
from training.loading import name_left_out


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
    assert dataset.image_name(0) == r"a/\xff.png"


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "valid", "Testing"), ("train", "validation", "TEST")],
)  # fmt: skip
def test_parts_go_by_their_usual_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    tree(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{val}/b/1.png", f"{test}/a/1.png")
    assert list_folder(tmp_path).parts.tolist() == ["train", "train", "val", "test"]
    assert names(tmp_path) == [f"{train}/a/1.png", f"{train}/b/1.png", f"{val}/b/1.png", f"{test}/a/1.png"]


def test_valid_is_a_class_where_nothing_is_called_train(tmp_path: Path) -> None:
    assert list_folder(tree(tmp_path, "valid/1.png", "invalid/1.png")).classes == ("invalid", "valid")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("train/a/1.png", "val/a/1.png", "validation/a/1.png"), "train, val and test, got val/, validation/"),
        (("train/a/1.png", "dev/a/1.png", "extra/1.png"), "train/, val/ and test/ only, got dev/, extra/ beside"),
        (("train/1.png", "car/1.png", "ship/1.png"), r"got car/, ship/ beside them \(a class cannot be called train\)"),
        (("val/a/1.png", "test/a/1.png", "a/1.png"), "expected train/ beside val/, test/, got none"),
        (("test/a/1.png", "test/b/1.png"), "expected train/ beside test/, got none"),
        (("train/a/1.png", "train/b/1.png", "test/1.png"), "class folders with images in test/, got none"),
        (("train/1.png", "train/2.png"), "class folders with images in train/, got none"),
        (("a/notes.txt", "b/c.csv"), r"got none; of 2 files that are no images, the first is 'a/notes\.txt'"),
    ],
)  # fmt: skip
def test_a_folder_that_could_be_misread_is_refused(tmp_path: Path, files: tuple[str, ...], says: str) -> None:
    tree(tmp_path, *files)
    for path in [*tmp_path.rglob("*.txt"), *tmp_path.rglob("*.csv")]:
        path.write_text("no image")
    with pytest.raises(DataError, match=f"{tmp_path.name}: .*{says}"):
        list_folder(tmp_path)


def test_what_is_no_image_by_name_and_content_is_left_out_and_counted(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/2", "a/3.txt", "b/4.PNG", "b/5.heic")
    for name in ("a/notes.txt", "b/Thumbs.db", "b/empty", "c/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "b/empty" else "no image")
    found = list_folder(tmp_path)
    assert names(tmp_path) == ["a/1.png", "a/2", "a/3.txt", "b/4.PNG", "b/5.heic"]
    assert found.not_images.names() == ("a/notes.txt", "b/Thumbs.db", "b/empty", "c/README.md")
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [0, 0, 0, 1, 1])
    dataset = load_dataset(str(tmp_path), workers=0)
    assert (len(dataset.images), len(dataset.not_images), dataset.unreadable) == (5, 4, ())
    for broken in ("a/1.png", "b/5.heic"):  # they should be images
        (tmp_path / broken).write_text("no image")
        with pytest.raises(DataError, match=rf"no images we read: {broken} .* \(--skip-broken leaves them out\)"):
            load_dataset(str(tmp_path), workers=0)
        tree(tmp_path, broken)


def test_what_is_left_out_is_said_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path, "a/1.png", "b/1.png", "b/2.png")
    (tmp_path / "b/2.png").write_text("no image")
    for i in range(6):
        (tmp_path / f"a/{i}.txt").write_text("no image")
    name_left_out(load_dataset(str(tmp_path), workers=0, skip_broken=True))
    images, broken, line = capsys.readouterr().err.splitlines()[-3:]
    assert images == "left out 6 files without an image: a/0.txt, a/1.txt, a/2.txt, a/3.txt, a/4.txt, …"
    assert broken == "left out 1 file that cannot be read:"
    assert line.startswith("  b/2.png (expected one of PNG")


def test_an_image_in_memory_is_called_by_its_file(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "a/22.png", "b/333.png")
    (tmp_path / "a/1.png").write_bytes(b"no image")
    for memory in (None, 0):
        dataset = load_dataset(str(tmp_path), memory=memory, workers=0, skip_broken=True)
        assert [dataset.image_name(row) for row in range(2)] == ["a/22.png", "b/333.png"]


def test_a_class_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(DataError, match="expected names of classes in UTF-8, got the folder"):
        list_folder(tmp_path)


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
