import pickle
from pathlib import Path

import numpy as np
import pytest

from decision import InputSpec, read_image
from tests.conftest import noise, png
from training.dataset import load_dataset
from training.errors import DataError


def folder(root: Path, *files: str, size: tuple[int, ...] = (4, 6, 3)) -> Path:
    for seed, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(noise(seed, size)))
    return root


def npz(path: Path, **changes: object) -> str:
    arrays = {
        "x_train": noise(0, (6, 4, 5)), "y_train": np.array([0, 1] * 3, dtype=np.uint8),
        "x_test": noise(1, (2, 4, 5)), "y_test": np.array([0, 1]), "classes": np.array(["a", "b"]),
    }  # fmt: skip
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return str(path)


def test_digits_are_embedded() -> None:
    data = load_dataset("digits")
    assert data.images.shape == (1797, 8, 8, 1)
    assert (data.images.min(), data.images.max()) == (0, 255)
    assert data.classes == tuple("0123456789")


def test_class_folders(tmp_path: Path) -> None:
    data = load_dataset(str(folder(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/3.png", "cat/.hidden")))
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(data.images, [noise(0), noise(1), noise(2)])
    assert data.parts.tolist() == ["train"] * 3


def test_a_folder_with_parts(tmp_path: Path) -> None:
    data = load_dataset(str(folder(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png")))
    assert data.parts.tolist() == ["train", "train", "val", "test"]
    assert data.labels.tolist() == [0, 1, 0, 1]


def test_a_strange_class_in_a_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"classes \['c'\] are not among"):
        load_dataset(str(folder(tmp_path, "train/a/1.png", "train/b/2.png", "test/c/3.png")))


def test_groups_csv_keeps_images_together(tmp_path: Path) -> None:
    folder(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    (tmp_path / "groups.csv").write_text("path,group\na/1.png,x\na/2.png,y\nb/3.png,x\n")
    assert load_dataset(str(tmp_path)).groups.tolist() == [0, 1, 0]
    (tmp_path / "groups.csv").write_text("path,group\na/1.png,x\n")
    with pytest.raises(DataError, match=r"no group for 2 images, the first is 'a/2\.png'"):
        load_dataset(str(tmp_path))
    (tmp_path / "groups.csv").write_text("file,group\n")
    with pytest.raises(DataError, match="expected the columns path and group"):
        load_dataset(str(tmp_path))


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    folder(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "3.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"1 files are no images we read: a/3\.jpg"):
        load_dataset(str(tmp_path))


def test_the_size_is_the_most_common_one_and_can_be_given(tmp_path: Path) -> None:
    folder(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    (tmp_path / "b" / "large.png").write_bytes(png(noise(9, (40, 30, 3))))
    assert load_dataset(str(tmp_path)).images.shape == (4, 4, 6, 3)
    assert load_dataset(str(tmp_path), size=(8, 9)).images.shape == (4, 8, 9, 3)


@pytest.mark.parametrize("memory", [0, None])
def test_drafts_are_read_as_the_service_will(tmp_path: Path, memory: int | None) -> None:
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(noise(3, (120, 160, 3)), "JPEG"))
    data = load_dataset(str(tmp_path), size=(12, 16), resize="draft", memory=memory, workers=0)
    assert data.input == InputSpec(12, 16, 3, "draft")
    image = (tmp_path / "a/1.jpg").read_bytes()
    np.testing.assert_array_equal(data.images[np.array([0])][0], read_image(image, data.input))
    assert not np.array_equal(read_image(image, data.input), read_image(image, InputSpec(12, 16, 3)))


def test_grey_folders_stay_grey(tmp_path: Path) -> None:
    assert load_dataset(str(folder(tmp_path, "a/1.png", "b/2.png", size=(4, 6)))).images.shape == (2, 4, 6, 1)


def test_an_npz_of_arrays(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path / "d.npz", group_train=np.array([3, 3, 4, 4, 5, 5]), id_test=np.zeros(2)))
    assert data.images.shape == (8, 4, 5, 1)
    assert data.parts.tolist() == ["train"] * 6 + ["test"] * 2
    assert data.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert load_dataset(str(tmp_path / "d.npz"), flips="both").flips == "both"
    assert load_dataset(str(tmp_path / "d.npz"), size=(2, 3)).images.shape == (8, 2, 3, 1)


def test_an_npz_of_encoded_files(tmp_path: Path) -> None:
    files = np.empty(6, dtype=object)
    files[:] = [png(noise(seed)) for seed in range(6)]
    data = load_dataset(npz(tmp_path / "d.npz", x_train=files, x_test=files[:2]))
    np.testing.assert_array_equal(data.images[:6], [noise(seed) for seed in range(6)])


class Malice:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("executed",)


def test_an_object_array_may_not_execute_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = np.empty(6, dtype=object)
    files[:] = [Malice()] * 6
    assert pickle.loads(pickle.dumps(Malice())) is None  # it would
    capsys.readouterr()
    with pytest.raises(DataError, match="bytes only, not builtins.print"):
        load_dataset(npz(tmp_path / "d.npz", x_train=files))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": None}, "classes is missing"),
        ({"x_train": noise(0, (6, 4, 5)).astype(float)}, "expected x_train to be uint8"),
        ({"x_train": noise(0, (6, 4, 5, 2))}, "6×4×5×2"),
        ({"x_train": noise(0, (5, 4, 5))}, "x_train has 5 images, y_train 6 labels"),
        ({"x_test": noise(0, (2, 4, 4))}, "x_train has images (4, 5, 1), x_test (4, 4, 1)"),
        ({"y_test": np.array([0, 2])}, "expected integer labels 0 to 1 in y_train and y_test, got"),
        ({"y_test": np.array([0.0, 1.0])}, "expected integer labels 0 to 1"),
        ({"y_test": np.array([], dtype=int)}, "of shape (n,) with n ≥ 1, got (6,), (0,)"),
        ({"y_train": np.zeros((6, 2), dtype=int)}, "got (6, 2), (2,)"),
        ({"group_train": np.array([1])}, "expected a group for each of 6 images, got 1"),
    ],
)
def test_an_npz_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(DataError) as refused:
        load_dataset(npz(tmp_path / "d.npz", **changes))
    assert says in str(refused.value)


@pytest.mark.parametrize("source", ["nothing", "missing.npz"])
def test_data_that_is_none_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected one of digits, mnist"):
        load_dataset(source)


def test_an_npz_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("no zip")
    with pytest.raises(DataError, match=r"d\.npz: expected an \.npz"):
        load_dataset(str(tmp_path / "d.npz"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected class folders"):
        load_dataset(str(tmp_path))
