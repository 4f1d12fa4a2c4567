import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decision import InputSpec
from tests.conftest import noise, png
from training.encoded import PIECE_BYTES, pieces_of
from training.errors import DataError
from training.files import Contents, ImageFiles, Paths, batched, default_workers, in_chunks

SPEC = InputSpec(4, 6, 3)
N = 40
PIXELS = np.stack([noise(seed) for seed in range(N)])


def in_memory() -> ImageFiles:
    data = [png(image) for image in PIXELS]
    return ImageFiles(Contents([str(i) for i in range(N)], data), np.arange(N), SPEC)


def on_disk(root: Path) -> ImageFiles:
    names = [f"{i:02}.png" for i in range(N)]
    for name, image in zip(names, PIXELS, strict=True):
        (root / name).write_bytes(png(image))
    return ImageFiles(Paths.of(str(root), names), np.arange(N), SPEC)


FILES = in_memory()


@given(st.lists(st.integers(-N, N - 1)))
def test_rows_are_those_of_an_array_of_all(rows: list[int]) -> None:
    wanted = np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(FILES[wanted], PIXELS[wanted])


def test_rows_may_be_one_or_a_table() -> None:
    np.testing.assert_array_equal(FILES[7], PIXELS[7])
    table = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(FILES[table], PIXELS[table])
    assert (FILES.shape, len(FILES)) == (PIXELS.shape, N)


@pytest.mark.parametrize("rows", [np.zeros(N, dtype=bool), slice(3), np.array([1.0])])
def test_what_is_no_row_number_is_refused(rows: object) -> None:
    with pytest.raises(TypeError, match="expected row numbers"):
        FILES[rows]  # type: ignore[index]


def test_some_files_may_be_left_out() -> None:
    rows = np.array([3, 5, 11])
    some = ImageFiles(FILES.files, rows, SPEC)
    np.testing.assert_array_equal(some[np.arange(3)], PIXELS[rows])


CHUNKS = [np.array([5, 3, 3]), np.array([], dtype=np.int64), np.arange(N)[::-1], np.array([0])]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("kind", ["array", "files"])
def test_batches_come_in_order(tmp_path: Path, kind: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.encoded.PIECE_BYTES", 3 * PIXELS[0].nbytes)  # a chunk is several pieces
    images = PIXELS if kind == "array" else on_disk(tmp_path)
    got = list(batched(images, CHUNKS, workers=workers))
    assert len(got) == len(CHUNKS)
    for rows, pixels in zip(CHUNKS, got, strict=True):
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, PIXELS[rows])


def test_chunks_may_be_endless() -> None:
    def forever() -> Iterator[np.ndarray]:
        while True:
            yield np.arange(2)

    got = list(islice(batched(FILES, forever(), workers=2), 5))
    np.testing.assert_array_equal(got, np.stack([PIXELS[:2]] * 5))


def test_workers_leave_the_random_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(batched(FILES, CHUNKS, workers=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_later_is_named(tmp_path: Path, workers: int) -> None:
    images = on_disk(tmp_path)
    (tmp_path / "07.png").write_bytes(png(PIXELS[7])[:40])
    (tmp_path / "09.png").unlink()
    with pytest.raises(DataError) as refused:
        list(batched(images, [np.arange(20)], workers=workers))
    assert str(refused.value) == (
        "2 files are no images we read: 07.png (expected a readable PNG image, got one that is cut off or damaged); "
        "09.png (No such file or directory)"
    )


@given(st.integers(0, 30), st.integers(1, 40))
def test_chunks_are_the_rows_cut(n: int, size: int) -> None:
    chunks = in_chunks(np.arange(n), size)
    assert [row for chunk in chunks for row in chunk.tolist()] == list(range(n))
    assert [len(chunk) for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert all(1 <= len(chunk) <= size for chunk in chunks)


@given(st.integers(1, 500), st.integers(1, 300), st.sampled_from([1, 3]))
def test_a_piece_is_bounded_in_bytes(side: int, n: int, channels: int) -> None:
    images = ImageFiles(FILES.files, np.arange(N), InputSpec(side, side, channels))  # type: ignore[arg-type]
    pieces = pieces_of(np.arange(n), images)
    assert np.concatenate(pieces).tolist() == list(range(n))
    assert all(len(piece) == 1 or len(piece) * side * side * channels <= PIECE_BYTES for piece in pieces)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)))
def test_paths_are_kept_as_they_are(names: list[str]) -> None:
    paths = Paths.of("root", names)
    assert [paths.name(i) for i in range(len(paths))] == names


def test_a_million_paths_cost_tens_of_megabytes() -> None:
    paths = Paths.of("root", (f"class-{i % 10}/image-{i:07}.jpg" for i in range(1_000_000)))
    assert sys.getsizeof(paths.blob) + paths.offsets.nbytes < 40e6
    assert paths.name(123_456) == "class-6/image-0123456.jpg"


def test_an_object_that_is_no_bytes_is_named() -> None:
    objects = np.array(["text", png(PIXELS[0])], dtype=object)
    with pytest.raises(DataError, match=r"1 files are no images we read: a \(expected bytes, got str\)"):
        ImageFiles(Contents(["a", "b"], objects), np.arange(2), SPEC)[np.arange(2)]


def test_one_core_is_left_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers in ((1, 1), (2, 1), (8, 7), (17, 16), (64, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert default_workers() == workers
