import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

from training.corruptions import CORRUPTIONS, SEED, corrupted

GREY = np.full((40, 32, 32, 3), 128, dtype=np.uint8)
ROWS = np.arange(40)


def images(n: int = 6, side: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def test_the_strengths_are_those_of_the_second_severity() -> None:
    """From the lists of make_cifar_c.py, which made CIFAR-10-C."""
    lists = {"noise": [0.04, 0.06, 0.08, 0.09, 0.10], "blur": [0.4, 0.6, 0.7, 0.8, 1.0],
             "brightness": [0.05, 0.1, 0.15, 0.2, 0.3]}  # fmt: skip
    assert {name: corruption.strength for name, corruption in CORRUPTIONS.items()} == {
        name: strengths[1] for name, strengths in lists.items()
    }


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_images_and_the_given_ones_as_they_were(name: str, channels: int) -> None:
    given = images(channels=channels)
    kept = given.copy()
    changed = corrupted(name, given, np.arange(6))
    assert (changed.shape, changed.dtype) == (given.shape, np.uint8)
    assert (changed != given).any()
    np.testing.assert_array_equal(given, kept)


@pytest.mark.parametrize("name", CORRUPTIONS)
@given(order=st.permutations(range(6)), n=st.integers(1, 6))
def test_no_image_depends_on_its_batch_mates(name: str, order: list[int], n: int) -> None:
    rows = np.array([5, 17, 3, 99_999, 0, 42])
    whole, some = corrupted(name, images(), rows), np.array(order[:n])
    np.testing.assert_array_equal(corrupted(name, images()[some], rows[some]), whole[some])


def test_noise_has_its_standard_deviation_and_no_mean() -> None:
    difference = corrupted("noise", GREY, ROWS).astype(float) - GREY  # clipping is 8 deviations away
    n = difference.size
    expected = np.hypot(0.06 * 255, np.sqrt(1 / 12))  # rounding to whole levels adds a uniform error
    assert difference.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * n))
    assert abs(difference.mean()) < 4 * expected / np.sqrt(n)


def test_noise_is_the_rows() -> None:
    a, b = corrupted("noise", GREY[:2], np.array([1, 2]))
    assert (a != b).any()
    dark, bright = (corrupted("noise", np.full_like(GREY[:1], level), np.array([7])) for level in (100, 140))
    np.testing.assert_array_equal(dark + 40, bright)


def test_noise_is_what_the_generator_of_a_row_draws() -> None:
    drawn = np.random.default_rng([SEED, 3]).standard_normal((32, 32, 3), dtype=np.float32)
    expected = np.rint(np.clip(128 / 255 + 0.06 * drawn, 0, 1) * 255)
    assert np.abs(corrupted("noise", GREY[:1], np.array([3]))[0] - expected).max() <= 1


def test_blur_keeps_the_mean_inside() -> None:
    framed = np.full((6, 32, 32, 3), 90, dtype=np.uint8)
    framed[:, 6:-6, 6:-6] = images()[:, 6:-6, 6:-6]
    blurred = corrupted("blur", framed, np.arange(6))
    np.testing.assert_allclose(blurred.mean(axis=(1, 2)), framed.mean(axis=(1, 2)), atol=4 / 32 * np.sqrt(1 / 12))
    assert blurred.std() < 0.8 * framed.std()


@pytest.mark.parametrize("side", [32, 64])
def test_blur_is_a_normal_density_in_proportion_to_the_side(side: int) -> None:
    point = np.zeros((1, side, side + 8, 1), dtype=np.uint8)
    point[0, side // 2, side // 2] = 255
    steps = np.arange(-9, 10)
    weights = np.exp(-(steps**2) / (2 * (0.6 * side / 32) ** 2))
    expected = 255 * np.outer(weights, weights) / weights.sum() ** 2
    seen = corrupted("blur", point, np.array([0]))[0, side // 2 - 9 : side // 2 + 10, side // 2 - 9 : side // 2 + 10, 0]
    np.testing.assert_allclose(seen, expected, atol=0.6)


def test_blur_mixes_no_channels_and_no_images() -> None:
    red = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    red[0, :, :, 0] = 255
    np.testing.assert_array_equal(corrupted("blur", red, np.arange(2)), red)


@pytest.mark.parametrize("level", [0, 1, 128, 229, 230, 240, 255])
def test_brightness_adds_to_grey(level: int) -> None:
    (brighter,) = np.unique(corrupted("brightness", np.full((1, 4, 4, 1), level, dtype=np.uint8), np.array([0])))
    assert abs(int(brighter) - min(level + 25.5, 255)) <= 0.5


def test_brightness_raises_the_value_of_hsv() -> None:
    hsv = rgb_to_hsv(images() / 255)
    hsv[..., 2] = np.minimum(hsv[..., 2] + 0.1, 1)
    assert np.abs(corrupted("brightness", images(), np.arange(6)) - 255 * hsv_to_rgb(hsv)).max() <= 0.51
