import colorsys
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage, stats
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional

from training.augment import ALPHA, KINDS, Augmentation, Batch, rare_classes
from training.dataset import FLIPS, Flips
from training.randaugment import KEPT, OPERATIONS, Operation, apply_operations, draw_operations

CHANGING = [kind for kind in KINDS if kind != "none"]
SHAPES = {"grey": (40, 24, 1), "colour": (32, 32, 3)}
VARIANTS = [(op, magnitude) for op in OPERATIONS for magnitude in op.magnitudes]

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
changing = pytest.mark.parametrize("kind", CHANGING)


def pictures(n: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Smooth blotches with some noise, from dark to bright, so that every operation has something to change."""
    rng = np.random.default_rng(seed)
    blotches = ndimage.gaussian_filter(rng.normal(size=(n, *shape)), (0, 3, 3, 0)) + rng.normal(0, 0.01, (n, *shape))
    low, high = (extreme(blotches, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    return torch.from_numpy(((blotches - low) / (high - low) * 175 + 40).round().astype(np.uint8))


def labels_of(n: int) -> Tensor:
    return torch.arange(n) % 3


def applied_to(images: Tensor, labels: Tensor, augment: Augmentation, rng: np.random.Generator) -> Batch:
    return augment.draw(labels.numpy(), images.shape[1:], rng).applied(images, labels)


def augmented(kind: str, images: Tensor, seed: int = 0, classes: tuple[int, ...] | None = None) -> Batch:
    augment = Augmentation(kind, "both", 0.1, classes)
    return applied_to(images, labels_of(len(images)), augment, np.random.default_rng(seed))


def randaugment(images: Tensor, rng: np.random.Generator) -> Tensor:
    return apply_operations(images, draw_operations(len(images), images.shape[3], rng))


# ---- every kind


@shapes
def test_none_gives_the_very_same_images(shape: tuple[int, int, int]) -> None:
    images = pictures(5, shape)
    batch = augmented("none", images)
    assert batch.images is images
    assert torch.equal(batch.labels, labels_of(5))
    assert batch.partners is batch.shares is None


@shapes
@changing
def test_a_seed_decides_everything(kind: str, shape: tuple[int, int, int]) -> None:
    images = pictures(16, shape)
    first, again, other = (augmented(kind, images, seed) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


@shapes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [None, (1,)])
def test_arguments_and_torchs_own_generator_are_left_alone(
    kind: str, shape: tuple[int, int, int], classes: tuple[int, ...] | None
) -> None:
    images, state = pictures(40, shape), torch.get_rng_state()
    before = images.clone()
    augmented(kind, images, classes=classes)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


@shapes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 33])
def test_shape_and_type_of_a_batch_of_any_size(kind: str, shape: tuple[int, int, int], n: int) -> None:
    images = pictures(n, shape)
    batch = augmented(kind, images)
    assert batch.images.shape == images.shape
    assert batch.images.is_contiguous()
    assert batch.images.dtype == (torch.float32 if kind == "mixup" else torch.uint8)
    assert torch.equal(batch.labels, labels_of(n))
    if kind == "mixup":
        assert batch.partners.shape == batch.shares.shape == (n,)
        assert batch.partners.dtype == torch.int64


@shapes
@changing
@pytest.mark.parametrize("classes", [(1,), (0, 2), (7,), ()])
def test_only_the_chosen_classes_change(kind: str, shape: tuple[int, int, int], classes: tuple[int, ...]) -> None:
    images = pictures(60, shape)
    batch = augmented(kind, images, classes=classes)
    chosen = torch.tensor([label in classes for label in labels_of(60).tolist()])
    same = (batch.images == images).flatten(1).all(dim=1)
    assert same[~chosen].all()
    assert (~same[chosen]).double().mean() > 0.9 or not chosen.any()
    if kind == "mixup":
        assert (batch.shares[~chosen] == 1).all()


@changing
@pytest.mark.parametrize("classes", [None, (1,)])
def test_all_is_done_on_the_device_of_the_images(kind: str, classes: tuple[int, ...] | None) -> None:
    """torch's fake tensors know their device but no values: two devices in one operation, or a look, is an error."""
    draw = Augmentation(kind, "both", 0.2, classes).draw(labels_of(64).numpy(), (8, 8, 3), np.random.default_rng(0))
    with FakeTensorMode():
        images = torch.empty(64, 8, 8, 3, dtype=torch.uint8, device="cuda")
        labels = torch.empty(64, dtype=torch.int64, device="cuda")
        batch = draw.applied(images, labels)
    assert batch.images.shape == images.shape
    parts = (batch.images, batch.labels, batch.partners, batch.shares)
    assert {part.device.type for part in parts if part is not None} == {"cuda"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [None, (1,), ()])
@pytest.mark.parametrize("count", [2, 3])
def test_parts_that_are_made_apart_are_those_of_the_batch(
    kind: str, classes: tuple[int, ...] | None, count: int
) -> None:
    images, labels, augment = pictures(7, SHAPES["colour"]), labels_of(7), Augmentation(kind, "both", 0.1, classes)
    whole = augmented(kind, images, classes=classes)
    for rank in range(count):
        own = slice(rank, None, count)
        draw = augment.draw(labels.numpy(), images.shape[1:], np.random.default_rng(0), own)
        assert len(draw.places) == len(draw.own) or kind == "mixup", "no image is decoded that is not needed"
        part = draw.applied(images[draw.places], labels[draw.places])
        for field in ("images", "labels", "partners", "shares"):
            expected, came = getattr(whole, field), getattr(part, field)
            assert (expected is None and came is None) or torch.equal(came, expected[own])


@pytest.mark.parametrize(
    ("counts", "rare"),
    [([5, 5, 5], ()), ([9, 1], (1,)), ([10, 2, 6, 6], (1,)), ([1, 2, 3, 100], (0, 1, 2)), ([4, 0], (1,)), ([7], ())],
)
def test_rare_is_below_the_mean_class(counts: list[int], rare: tuple[int, ...]) -> None:
    assert rare_classes(np.array(counts)) == rare


# ---- light


@pytest.mark.parametrize(
    ("flips", "shift", "variants"),
    [("none", 0.0, 1), ("horizontal", 0.0, 2), ("vertical", 0.0, 2), ("both", 0.0, 4), ("none", 0.25, 9)],
)
def test_light_moves_as_far_as_it_may(flips: Flips, shift: float, variants: int) -> None:
    image = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4, 1)
    augment = Augmentation("light", flips, shift)
    batch = applied_to(image.repeat(400, 1, 1, 1), torch.zeros(400), augment, np.random.default_rng(0))
    seen = {tuple(one.flatten().tolist()) for one in batch.images}
    assert len(seen) == variants
    expected = {
        "horizontal": image.flip(2), "vertical": image.flip(1), "both": image.flip(1, 2), "none": image,
    }[flips]  # fmt: skip
    assert tuple(expected.flatten().tolist()) in seen


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3]), st.sampled_from(FLIPS), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_light_is_a_mirror_and_a_shift_with_the_edges_repeated(
    height: int, width: int, channels: int, flips: Flips, shift: float
) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, height, width, channels), dtype=np.uint8))
    batch = applied_to(images, torch.zeros(6), Augmentation("light", flips, shift), np.random.default_rng(1))
    most_y, most_x = round(shift * height), round(shift * width)
    for before, after in zip(images.numpy(), batch.images.numpy(), strict=True):
        possible = []
        for rows in (1, -1) if flips in ("vertical", "both") else (1,):
            for columns in (1, -1) if flips in ("horizontal", "both") else (1,):
                padding = ((most_y, most_y), (most_x, most_x), (0, 0))
                padded = np.pad(before[::rows, ::columns], padding, mode="edge")
                possible += [padded[y : y + height, x : x + width]
                             for y in range(2 * most_y + 1) for x in range(2 * most_x + 1)]  # fmt: skip
        assert any(np.array_equal(after, one) for one in possible)


# ---- strong


def grid_of(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from the centre, to the right and down."""
    return np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)


def sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    places = [y + (height - 1) / 2, x + (width - 1) / 2]
    planes = [ndimage.map_coordinates(plane.astype(float), places, order=1, mode="nearest")
              for plane in np.moveaxis(image, 2, 0)]  # fmt: skip
    return np.stack(planes, axis=2)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise on the screen, where y points down."""
    x, y = grid_of(*image.shape[:2])
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return sampled(image, cos * x - sin * y, sin * x + cos * y)


def sheared_x(image: np.ndarray, slope: float) -> np.ndarray:
    x, y = grid_of(*image.shape[:2])
    return sampled(image, x + slope * y, y)


def sheared_y(image: np.ndarray, slope: float) -> np.ndarray:
    x, y = grid_of(*image.shape[:2])
    return sampled(image, x, y + slope * x)


def pil(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def zoomed(image: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    height, width, _ = image.shape
    tall, wide = round(height * KEPT), round(width * KEPT)
    top, left = corner[0] * (height - tall), corner[1] * (width - wide)
    part = pil(image).crop((left, top, left + wide, top + tall))
    return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))


def hue_turned(image: np.ndarray, turn: float) -> np.ndarray:
    def recoloured(pixel: np.ndarray) -> tuple[float, float, float]:
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        return colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)

    return np.apply_along_axis(recoloured, 2, image) * 255


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    bell = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    rows = ndimage.convolve1d(image.astype(float), bell, axis=0, mode="mirror")
    return ndimage.convolve1d(rows, bell, axis=1, mode="mirror")


REFERENCES = {
    "identity": lambda image, _: image,
    "rotate": rotated,
    "shear_x": sheared_x,
    "shear_y": sheared_y,
    "zoom": zoomed,
    "brightness": lambda image, factor: ImageEnhance.Brightness(pil(image)).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(pil(image)).enhance(factor),
    "saturation": lambda image, factor: ImageEnhance.Color(pil(image)).enhance(factor),
    "hue": hue_turned,
    "sharpen": lambda image, factor: ImageEnhance.Sharpness(pil(image)).enhance(factor),
    "blur": blurred,
    "autocontrast": lambda image, _: ImageOps.autocontrast(pil(image)),
    "equalize": lambda image, _: ImageOps.equalize(pil(image)),
    "posterize": lambda image, bits: ImageOps.posterize(pil(image), bits),
    "solarize": lambda image, level: ImageOps.solarize(pil(image), level),
}


def variant_name(value: object) -> str:
    return value.name if isinstance(value, Operation) else str(value)


def applied(op: Operation, images: Tensor, magnitude: object) -> np.ndarray:
    return op.apply(images.permute(0, 3, 1, 2), magnitude).permute(0, 2, 3, 1).numpy()


@shapes
@pytest.mark.parametrize(("op", "magnitude"), VARIANTS, ids=variant_name)
def test_an_operation_is_that_of_pillow_scipy_or_colorsys(
    op: Operation, magnitude: object, shape: tuple[int, int, int]
) -> None:
    if op.colour and shape[2] == 1:
        return  # not drawn for grey images
    images = pictures(3, shape)
    for image, result in zip(images.numpy(), applied(op, images, magnitude), strict=True):
        expected = np.asarray(REFERENCES[op.name](image, magnitude), dtype=float).reshape(shape)
        np.testing.assert_allclose(result, expected, atol=1.01)  # both come to whole levels, each in its way
    assert op.name == "identity" or not np.array_equal(applied(op, images, magnitude), images.numpy())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rotate", lambda padded, m: functional.rotate(padded, m, functional.InterpolationMode.BILINEAR)),
        ("shear_x", lambda padded, m: sheared_by_torchvision(padded, [math.degrees(math.atan(m)), 0.0])),
        ("shear_y", lambda padded, m: sheared_by_torchvision(padded, [0.0, math.degrees(math.atan(m))])),
    ],
)
@shapes
def test_a_warp_is_torchvisions_on_repeated_edges(name: str, reference: object, shape: tuple[int, int, int]) -> None:
    op = next(op for op in OPERATIONS if op.name == name)
    images = pictures(3, shape)
    padded = functional.pad(images.permute(0, 3, 1, 2), [20], padding_mode="edge")
    for magnitude in op.magnitudes:
        expected = reference(padded, magnitude)[:, :, 20:-20, 20:-20].permute(0, 2, 3, 1)
        gaps = applied(op, images, magnitude) - expected.numpy().astype(float)
        assert np.abs(gaps).max() <= 1  # where float32 falls on the other side of a half,
        assert np.abs(gaps.mean()) < 0.02  # as often up as down


def sheared_by_torchvision(padded: Tensor, degrees: list[float]) -> Tensor:
    return functional.affine(padded, 0.0, [0, 0], 1.0, degrees, functional.InterpolationMode.BILINEAR)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (9, 1, 3), (2, 2, 3), (3, 3, 1)])
@pytest.mark.parametrize(("op", "magnitude"), VARIANTS, ids=variant_name)
def test_an_operation_takes_the_smallest_images(op: Operation, magnitude: object, shape: tuple[int, int, int]) -> None:
    images = pictures(2, (9, 9, shape[2]))[:, : shape[0], : shape[1]]
    assert applied(op, images, magnitude).shape == images.shape


@shapes
def test_every_pair_of_operations_is_drawn_and_no_other(shape: tuple[int, int, int]) -> None:
    """One image many times: what comes out is what two operations in a row give, image by image."""
    image = pictures(1, shape)
    drawable = [(op, m) for op, m in VARIANTS if shape[2] == 3 or not op.colour]
    chances: dict[bytes, float] = {}
    for op, magnitude in drawable:
        once = torch.from_numpy(applied(op, image, magnitude))
        for op2, magnitude2 in drawable:
            key = applied(op2, once, magnitude2).tobytes()
            chance = 1 / (len(op.magnitudes) * len(op2.magnitudes) * len({op.name for op, _ in drawable}) ** 2)
            chances[key] = chances.get(key, 0.0) + chance
    n = 6000
    seen = Counter(one.numpy().tobytes() for one in randaugment(image.repeat(n, 1, 1, 1), np.random.default_rng(0)))
    assert seen.keys() <= chances.keys()
    expected = n * np.array(list(chances.values()))
    assert stats.chisquare([seen[key] for key in chances], expected).pvalue > 1e-4


@shapes
def test_what_an_image_becomes_does_not_depend_on_the_others(shape: tuple[int, int, int]) -> None:
    images = pictures(40, shape)
    others = pictures(40, shape, seed=1)
    others[::2] = images[::2]
    first, second = (randaugment(batch, np.random.default_rng(5)) for batch in (images, others))
    np.testing.assert_array_equal(first[::2], second[::2])
    assert not torch.equal(first[1::2], second[1::2])


def test_strong_is_light_and_then_randaugment() -> None:
    images = pictures(30, SHAPES["colour"])
    rng = np.random.default_rng(0)
    light = applied_to(images, labels_of(30), Augmentation("light", "both", 0.1), rng)
    assert torch.equal(augmented("strong", images).images, randaugment(light.images, rng))


# ---- mixup


@shapes
@pytest.mark.parametrize("classes", [None, tuple(range(0, 30, 3))])
def test_a_mixed_image_is_the_sum_of_its_parts(shape: tuple[int, int, int], classes: tuple[int, ...] | None) -> None:
    """x = λ x + (1 − λ) x', both as light left them, x' the image whose label is the partner's."""
    images, labels = pictures(30, shape), torch.arange(30)  # each its own class, so that a label names an image
    light, batch = (
        applied_to(images, labels, Augmentation(kind, "both", 0.1, classes), np.random.default_rng(0))
        for kind in ("light", "mixup")
    )
    shares = batch.shares.double()[:, None, None, None]
    expected = shares * light.images + (1 - shares) * light.images[batch.partners]
    np.testing.assert_allclose(batch.images, expected, atol=1e-4)
    assert batch.images.min() >= images.min()
    assert batch.images.max() <= images.max()
    assert sorted(batch.partners.tolist()) == labels.tolist() != batch.partners.tolist()
    assert ((batch.shares >= 0) & (batch.shares <= 1)).all()
    chosen = 30 if classes is None else len(classes)
    assert chosen // 2 < (batch.shares < 1).sum() <= chosen


def test_shares_follow_the_beta_distribution() -> None:
    n = 20_000
    images, labels = torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64)
    mixup = Augmentation("mixup", "none", 0.0)
    shares = applied_to(images, labels, mixup, np.random.default_rng(0)).shares.double()
    assert shares.mean() == pytest.approx(0.5, abs=0.015)
    assert shares.var() == pytest.approx(1 / (4 * (2 * ALPHA + 1)), abs=0.005)


def test_a_lone_image_is_mixed_with_itself() -> None:
    image = pictures(1, SHAPES["colour"])
    batch = applied_to(image, torch.tensor([2]), Augmentation("mixup", "none", 0.0), np.random.default_rng(0))
    assert torch.equal(batch.images, image.float())
    assert batch.partners.tolist() == [2]
