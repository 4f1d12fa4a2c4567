import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from decision import BrokenImage, InputSpec, TooManyPixels, UnsupportedImage, decode, read_image, to_input
from decision.images import sniff
from tests.conftest import noise, png

COLOUR = noise(0, (5, 7, 3))
GREY = noise(1, (5, 7))
RGB, L = InputSpec(5, 7, 3), InputSpec(5, 7, 1)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_come_through_unchanged(kind: str, options: dict[str, object]) -> None:
    data = png(COLOUR, kind, **options)
    assert sniff(data) == kind
    np.testing.assert_array_equal(read_image(data, RGB), COLOUR)


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_lossy_formats_come_close(kind: str) -> None:
    smooth = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 1, 3))
    options = {"quality": 95} if kind == "JPEG" else {}
    pixels = read_image(png(smooth, kind, **options), InputSpec(48, 64, 3))
    assert np.abs(pixels.astype(int) - smooth).max() <= 6


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((5, 7), value, dtype=np.uint8)) for value in (10, 200)]
    for kind in ("GIF", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(read_image(data, L), np.full((5, 7, 1), 10))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(orientation: int) -> None:
    turned = {
        1: COLOUR, 2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 4: COLOUR[::-1], 5: COLOUR.swapaxes(0, 1),
        6: np.rot90(COLOUR, 1), 7: np.rot90(COLOUR, 2).swapaxes(0, 1), 8: np.rot90(COLOUR, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(turned)), "PNG", exif=exif)
    np.testing.assert_array_equal(read_image(data, RGB), COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_never_clipped(kind: str) -> None:
    wide = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    data = encoded(Image.fromarray(wide), kind)
    np.testing.assert_array_equal(read_image(data, InputSpec(1, 6, 1))[0, :, 0], [0, 0, 1, 1, 128, 255])


def test_cmyk_palette_and_bilevel_are_converted() -> None:
    flat = Image.fromarray(np.full((5, 7, 3), [255, 0, 0], dtype=np.uint8))
    np.testing.assert_array_equal(read_image(encoded(flat.convert("P"), "PNG"), RGB)[0, 0], [255, 0, 0])
    assert np.abs(read_image(encoded(flat.convert("CMYK"), "JPEG"), RGB)[0, 0].astype(int) - [255, 0, 0]).max() < 8
    bilevel = Image.fromarray(GREY > 127)
    np.testing.assert_array_equal(read_image(encoded(bilevel, "PNG"), L)[..., 0], np.where(GREY > 127, 255, 0))


def test_alpha_is_dropped() -> None:
    image = Image.fromarray(COLOUR).convert("RGBA")
    image.putalpha(0)
    np.testing.assert_array_equal(read_image(encoded(image, "PNG"), RGB), COLOUR)


def test_grey_and_colour_meet_the_network_as_it_wants() -> None:
    np.testing.assert_array_equal(read_image(png(GREY), RGB), np.repeat(GREY[..., None], 3, axis=2))
    expected = np.asarray(Image.fromarray(COLOUR).convert("L"))
    np.testing.assert_array_equal(read_image(png(COLOUR), L)[..., 0], expected)


def test_resize_is_antialiased_bilinear_over_the_whole_image() -> None:
    stripes = np.zeros((8, 8), dtype=np.uint8)
    stripes[:, ::2] = 200
    small = to_input(Image.fromarray(stripes), InputSpec(2, 2, 1))
    assert np.abs(small.astype(int) - 100).max() <= 15  # picking pixels would give 0 or 200


@pytest.mark.parametrize("data", [b"", b"hello, this is text", b"<svg/>", b"\x00" * 100, b"RIFF0000WAVE", b"%PDF-1.7"])
def test_bytes_that_begin_like_no_image_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match="expected one of PNG, JPEG"):
        decode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_truncated_image_is_broken_wherever_it_was_cut(kind: str) -> None:
    data = png(noise(2, (40, 40, 3)), kind)
    for cut in (13, len(data) // 4, len(data) // 2, len(data) - 40):
        with pytest.raises(BrokenImage, match="expected a readable"):
            decode(data[:cut])


def test_mutated_images_decode_or_are_refused_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        original = png(noise(3, (20, 20, 3)), kind)
        for _ in range(100):
            data = bytearray(original)
            for place in rng.integers(0, len(data), 3):
                data[place] = rng.integers(0, 256)
            with contextlib.suppress(BrokenImage, UnsupportedImage, TooManyPixels):
                assert decode(bytes(data), max_pixels=10_000).mode in ("L", "RGB")


def test_the_header_decides_before_any_pixel_is_decoded() -> None:
    bomb = encoded(Image.new("1", (9_000, 9_000)), "PNG")
    assert len(bomb) < 20_000
    with pytest.raises(TooManyPixels, match="at most 50,000,000 pixels, got 9,000 × 9,000"):
        decode(bomb)
    huge = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(TooManyPixels):
        decode(huge)


def test_the_pixel_limit_is_inclusive() -> None:
    assert decode(png(COLOUR), max_pixels=35).size == (7, 5)
    with pytest.raises(TooManyPixels):
        decode(png(COLOUR), max_pixels=34)


def test_modes_without_a_meaning_are_unsupported() -> None:
    with pytest.raises(UnsupportedImage, match="mode 'F'"):
        decode(encoded(Image.fromarray(np.zeros((3, 3), dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("bad", [(0, 4, 3), (4, 0, 3), (4, 4, 2)])
def test_an_input_has_a_size_and_one_or_three_channels(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="1 or 3 channels"):
        InputSpec(*bad)


def smooth(width: int, height: int) -> Image.Image:
    small = Image.fromarray(noise(2, (6, 8, 3)))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("side", "loaded"),
    [(1, (80, 60)), (59, (80, 60)), (60, (80, 60)), (61, (160, 120)), (120, (160, 120)), (121, (320, 240)),
     (240, (320, 240)), (241, (640, 480)), (480, (640, 480)), (900, (640, 480))],
)  # fmt: skip
def test_a_draft_is_the_least_eighth_that_is_large_enough(side: int, loaded: tuple[int, int]) -> None:
    data = encoded(smooth(640, 480), "JPEG")
    assert decode(data, least_side=side).size == loaded
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode(encoded(smooth(640, 480), "JPEG", exif=turned), least_side=side).size == loaded[::-1]


@pytest.mark.parametrize(("height", "width", "side"), [(32, 32, 64), (20, 32, 64), (32, 20, 64)])
def test_a_draft_has_twice_the_longer_side_of_the_network(height: int, width: int, side: int) -> None:
    spec = InputSpec(height, width, 3, "draft")
    data = encoded(smooth(900, 700), "JPEG", quality=92)
    np.testing.assert_array_equal(read_image(data, spec), to_input(decode(data, least_side=side), spec))
    whole = read_image(data, InputSpec(height, width, 3)).astype(int)
    assert 0 < np.abs(read_image(data, spec) - whole).mean() < 3  # slightly other pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_only_jpegs_have_drafts(kind: str) -> None:
    data = encoded(smooth(200, 100), kind)
    np.testing.assert_array_equal(read_image(data, InputSpec(8, 8, 3, "draft")), read_image(data, InputSpec(8, 8, 3)))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_drafts_of_other_colours(mode: str) -> None:
    data = encoded(smooth(320, 240).convert(mode), "JPEG")
    assert decode(data, least_side=16).size == (40, 30)
    assert decode(data, least_side=16).mode == ("L" if mode == "L" else "RGB")
