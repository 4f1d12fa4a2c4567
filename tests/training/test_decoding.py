import tracemalloc

import numpy as np
import pytest

from tests.conftest import noise, png
from training.decoding import LARGEST_SIDE, Reading, compacted, load_images, survey
from training.encoded import Contents, ImageFiles
from training.errors import DataError


def contents(*images: np.ndarray | bytes) -> Contents:
    data = [image if isinstance(image, bytes) else png(image) for image in images]
    return Contents([str(i) for i in range(len(data))], data)


SOME = [noise(seed) for seed in range(5)]


@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_are_kept_up_to_the_last_byte_of_memory(workers: int) -> None:
    size = np.stack(SOME).nbytes
    whole, files = (
        load_images(contents(*SOME), Reading(memory=memory, workers=workers)).images for memory in (size, size - 1)
    )
    assert isinstance(whole, np.ndarray)
    assert isinstance(files, ImageFiles)
    np.testing.assert_array_equal(whole, SOME)
    np.testing.assert_array_equal(files[np.arange(5)], SOME)


@pytest.mark.parametrize("memory", [0, 10**9])
@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_are_found_either_way(memory: int, workers: int) -> None:
    files = contents(SOME[0], b"no image", SOME[1], png(SOME[2])[:50], SOME[3])
    loaded = load_images(files, Reading(memory=memory, workers=workers))
    assert loaded.rows.tolist() == [0, 2, 4]
    assert [line.split()[0] for line in loaded.unreadable] == ["1", "3"]
    np.testing.assert_array_equal(loaded.images[np.arange(3)], [SOME[0], SOME[1], SOME[3]])


def test_broken_files_are_refused_unless_skipped() -> None:
    files = contents(*SOME, *[b"no image"] * 7)
    with pytest.raises(DataError) as refused:
        Reading().load(files)
    assert str(refused.value).startswith("7 files are no images we read: 5 (expected one of PNG")
    assert str(refused.value).count("; ") == 4  # the first five
    assert len(Reading(skip_broken=True).load(files).unreadable) == 7
    with pytest.raises(DataError, match="2 files are no images"):
        Reading(skip_broken=True).load(contents(b"", b"no image"))


def test_headers_say_size_and_colour() -> None:
    grey, tall = noise(0, (4, 6)), noise(1, (300, 10))
    for images, spec in (
        ((grey, grey), (4, 6, 1)), ((grey, SOME[0]), (4, 6, 3)), ((tall, tall, grey), (LARGEST_SIDE, 10, 1)),
    ):  # fmt: skip
        found = survey(contents(*images), Reading())
        assert (found.height, found.width, found.channels) == spec
    assert survey(contents(tall, grey), Reading((8, 9))).width == 9


@pytest.mark.filterwarnings("default")  # as a user has them
def test_too_many_pixels_are_one_line_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    bomb = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bomb += (10_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    loaded = load_images(contents(SOME[0], bomb), Reading())
    assert "expected at most 50,000,000 pixels" in loaded.unreadable[0]
    assert not recwarn.list


def test_decoding_needs_the_array_and_little_more() -> None:
    files = contents(*[noise(seed % 5, (64, 64, 3)) for seed in range(400)])
    size = 400 * 64 * 64 * 3
    tracemalloc.start()
    load_images(files, Reading(memory=size))
    kept = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    load_images(files, Reading(memory=size - 1))
    dropped = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size < kept < 1.6 * size
    assert dropped < 0.6 * size


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
def test_compacting_is_picking(n: int) -> None:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 1, 2, 1), dtype=np.uint8)
    kept = np.flatnonzero(np.random.default_rng(0).random(n) < 0.7)
    expected = pixels[kept]
    found = compacted(pixels, kept)
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, pixels)
