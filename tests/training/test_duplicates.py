import io
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision import InputSpec
from tests.conftest import png
from training import duplicates
from training.dataset import Dataset
from training.duplicates import find_duplicates
from training.files import ImageFiles, Images
from training.pairs import Pairs
from training.splits import split
from training.thumbnails import n_pixels, thumbnails

RNG = np.random.default_rng(0)


def dataset(images: Images, parts: object = "train", **known: object) -> Dataset:
    n = len(images)
    given = {"labels": np.arange(n) % 2, "groups": np.arange(n)} | {k: np.asarray(v) for k, v in known.items()}
    return Dataset("made", ("a", "b", "c"), images, **given, parts=np.broadcast_to(np.asarray(parts, dtype=str), n))  # type: ignore[arg-type]


def noise(n: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8)


def planted(rng: np.random.Generator, n: int, side: int = 6, channels: int = 1) -> Dataset:
    """Images of which many are copies, or so but for noise, to correlations around 0.98; some flat; all else random."""
    originals = rng.integers(0, 256, (max(2, n // 3), side, side, channels))
    originals[0] = 77
    images = originals[rng.integers(0, len(originals), n)]
    blur = rng.integers(1, 50, n) * (rng.random(n) < 0.6)
    images = np.clip(images + rng.uniform(-1, 1, images.shape) * blur[:, None, None, None], 0, 255)
    parts = [["train"], ["train", "test"], ["train", "val"], ["train", "val", "test"]][rng.integers(4)]
    return dataset(images.astype(np.uint8), rng.choice(parts, n), labels=rng.integers(0, 3, n),
                   groups=rng.integers(0, n // 2 + 1, n))  # fmt: skip


def brute_force(data: Dataset) -> tuple[dict[str, list[tuple[int, int]]], dict[str, list[tuple[int, int]]]]:
    """Exact and near pairs of each kind, from every pair of images by itself."""
    grey = data.images.astype(float).mean(axis=3).reshape(len(data.images), -1)
    torn = {("train",): {"train"}, ("test", "train"): {"train"}, ("train", "val"): {"train", "val"},
            ("test", "train", "val"): {"val"}}  # fmt: skip
    divided = torn.get(tuple(sorted(set(data.parts.tolist()))), set(data.parts.tolist()) - {"test"})
    exact, near = ({kind: [] for kind in ("all", "across", "torn", "together", "conflicting")} for _ in range(2))
    for i, j in combinations(range(len(grey)), 2):
        if np.array_equal(data.images[i], data.images[j]):
            found = exact
        elif np.ptp(grey[i]) and np.ptp(grey[j]) and np.corrcoef(grey[i], grey[j])[0, 1] >= 0.98:
            found = near
        else:
            continue
        group, part = data.groups[i] == data.groups[j], data.parts[i] == data.parts[j]
        holds = {"all": True, "across": not part and not group, "together": group,
                 "torn": part and not group and data.parts[i] in divided,
                 "conflicting": data.labels[i] != data.labels[j]}  # fmt: skip
        for kind in (kind for kind, yes in holds.items() if yes):
            found[kind].append((i, j))
    return exact, near


def assert_same(found: Pairs, expected: dict[str, list[tuple[int, int]]], parts: np.ndarray) -> None:
    for kind, pairs in expected.items():
        count, images = found.counts[kind], {row for pair in pairs for row in pair}  # type: ignore[index]
        assert count.pairs == len(pairs), kind
        assert count.images == {part: sum(parts[row] == part for row in images) for part in count.images}, kind
        assert count.n_images == len(images), kind
    assert len(found.leaks) == min(20, len(expected["across"]) + len(expected["torn"]))
    assert len(found.conflicts) == min(20, len(expected["conflicting"]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([1, 3]), st.sampled_from([1, 3, 7, 2048]))
def test_pairs_are_those_of_brute_force_however_the_work_is_cut(seed: int, n: int, channels: int, tile: int) -> None:
    data = planted(np.random.default_rng(seed), n, channels=channels)
    exact, near = brute_force(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "TILE", tile)
        patch.setattr(duplicates, "BATCH_BYTES", tile * 36 * channels)
        found = find_duplicates(data, seed)
    assert_same(found.exact, exact, data.parts)
    assert_same(found.near, near, data.parts)
    assert not found.sampled


def test_the_planted_data_has_pairs_of_every_kind() -> None:
    kinds: set[str] = set()
    for seed in range(20):
        for name, pairs in zip(("exact", "near"), brute_force(planted(np.random.default_rng(seed), 40)), strict=True):
            kinds |= {f"{name} {kind}" for kind, rows in pairs.items() if rows}
    assert len(kinds) == 10


def test_examples_name_images_by_part_and_place_with_labels() -> None:
    images = noise(6, 5, 5, 1)
    images[4], images[5] = images[1], images[2]
    images[5, 0, 0, 0] ^= 16
    found = find_duplicates(dataset(images, ["train"] * 3 + ["test"] * 3, labels=[0, 0, 1, 0, 1, 1]), 0)
    (copy,) = found.exact.leaks
    assert (copy.images, copy.labels, copy.correlation) == (("train[1]", "test[1]"), ("a", "b"), 1.0)
    assert found.exact.conflicts == (copy,)
    (alike,) = found.near.leaks
    assert (alike.images, alike.labels) == (("train[2]", "test[2]"), ("b", "b"))
    assert alike.correlation == pytest.approx(np.corrcoef(images[2].ravel(), images[5].ravel())[0, 1], abs=1e-4)
    assert found.near.conflicts == ()


class Bytes:
    """Encoded files in memory."""

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def name(self, row: int) -> str:
        return f"{row}.png"

    def open(self, row: int) -> io.BytesIO:
        return io.BytesIO(self.files[row])

    def stamp(self, row: int) -> bytes:
        return self.files[row]


def test_files_that_stay_encoded_are_compared_too_and_called_by_their_names() -> None:
    images = noise(9, 6, 6, 3)
    images[7] = images[2]
    files = ImageFiles(Bytes([png(image) for image in images]), np.arange(9), InputSpec(6, 6, 3))
    found, decoded = (find_duplicates(dataset(some), 0) for some in (files, images))
    assert found.exact.leaks[0].images == ("2.png", "7.png")
    assert (found.exact.counts, found.near) == (decoded.exact.counts, decoded.near)


def test_near_examples_are_the_most_alike() -> None:
    base, images = noise(1, 8, 8, 1)[0].astype(int), []
    for step in range(12):
        images.append(np.clip(base + step * RNG.integers(-2, 3, base.shape), 0, 255))
    data = dataset(np.array(images, dtype=np.uint8))
    pairs = sorted(((np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in combinations(images, 2))), reverse=True)
    leaks = find_duplicates(data, 0).near.leaks
    assert [pair.correlation for pair in leaks] == pytest.approx(pairs[:20], abs=1e-4)


@pytest.mark.parametrize("parts", [("train",), ("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_torn_pairs_are_those_that_some_split_separates(parts: tuple[str, ...]) -> None:
    half = noise(24 * len(parts), 3, 3, 1)
    part = np.tile(np.repeat(parts, 24), 2)
    data = dataset(np.concatenate([half, half]), part, labels=np.tile(np.arange(len(half)) % 3, 2))
    torn = find_duplicates(data, 0).exact.counts["torn"].images
    separated = set()
    for seed in range(20):
        splits, home = split(data, None, seed), np.empty(len(part), dtype=int)
        for number, rows in enumerate((splits.train, splits.calibrate, splits.tune, splits.test)):
            home[rows] = number
        separated |= set(part[: len(half)][home[: len(half)] != home[len(half) :]].tolist())
    assert {name for name, n in torn.items() if n} == separated


def test_a_group_keeps_its_images_together() -> None:
    data = dataset(np.repeat(noise(10, 4, 4, 1), 2, axis=0), groups=np.repeat(np.arange(10), 2))
    counts = find_duplicates(data, 0).exact.counts
    assert (counts["together"].pairs, counts["torn"].pairs, counts["across"].pairs) == (10, 0, 0)


def test_flat_images_are_exact_duplicates_or_none() -> None:
    images = np.repeat(np.array([0, 0, 90, 255], dtype=np.uint8), 40 * 40).reshape(4, 40, 40, 1)
    found = find_duplicates(dataset(images), 0)
    assert found.flat == 4
    assert found.exact.counts["all"].pairs == 1
    assert found.near.counts["all"].pairs == 0


def test_thousands_of_copies_are_counted_without_forming_their_pairs() -> None:
    data = dataset(np.zeros((30_000, 2, 2, 1), dtype=np.uint8), np.repeat(["train", "test"], [20_000, 10_000]))
    exact = find_duplicates(data, 0, queries=100, references=200).exact
    assert exact.counts["all"].pairs == 30_000 * 29_999 // 2
    assert exact.counts["across"].pairs == 20_000 * 10_000
    assert exact.counts["torn"].pairs == 20_000 * 19_999 // 2
    assert len(exact.leaks) == len(exact.conflicts) == 20


def test_where_it_samples_held_out_images_come_first_and_it_says_so() -> None:
    train = noise(60, 6, 6, 1)
    test = train[:12] ^ 1
    data = dataset(np.concatenate([train, test]), np.repeat(["train", "test"], [60, 12]))
    found = find_duplicates(data, 0, queries=12, references=72)
    assert found.sampled
    assert (found.queries, found.references, found.images) == (12, 72, 72)
    assert found.near.counts["across"].pairs == 12
    fewer = find_duplicates(data, 0, queries=12, references=30)
    assert fewer.references == 30
    assert 0 < fewer.near.counts["across"].pairs < 12
    assert fewer == find_duplicates(data, 0, queries=12, references=30)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (40, 24), (33, 47), (8, 8), (32, 32)])
def test_thumbnails_are_averages_over_equal_areas(height: int, width: int) -> None:
    images = noise(3, height, width, 3)
    rows, columns = min(height, 32), min(width, 32)
    assert n_pixels(images.shape) == rows * columns
    large = images.mean(axis=3).repeat(rows, axis=1).repeat(columns, axis=2)  # each side now divides evenly
    small = large.reshape(3, rows, height, columns, width).mean(axis=(2, 4)).reshape(3, -1)
    vectors, flat = thumbnails(images)
    assert not flat.any()
    np.testing.assert_allclose(vectors @ vectors.T, np.corrcoef(small), atol=1e-5)
