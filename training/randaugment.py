"""RandAugment on a batch: each image draws its own operations, each operation runs once on the images that drew it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

LAYERS = 2  # operations in a row, N of the paper
KEPT = 6 / 7  # of each side, by a zoom


@dataclass(frozen=True)
class Operation:
    """`apply(images, magnitude)`, uint8 `(n, channels, height, width)` to the same; one of `magnitudes`, by chance."""

    name: str
    apply: Callable[[Tensor, Any], Tensor]
    magnitudes: tuple[Any, ...] = (None,)
    colour: bool = False


Variant: TypeAlias = tuple[Operation, Any]
"""An operation at one of its magnitudes."""


def draw_operations(n: int, channels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which two operations, one after the other, each of n images gets, `(n, 2)` (Cubuk et al. 2020, N = 2).

    All operations have the same chance, but those on colour have none where images are grey. As in the paper,
    magnitudes are constant but for the sign; that keeps the groups few.
    """
    variants, chances = _variants(channels)
    return np.stack([rng.choice(len(variants), size=n, p=chances) for _ in range(LAYERS)], axis=1)


def apply_operations(images: Tensor, drawn: NDArray[np.int64]) -> Tensor:
    """Images `(n, height, width, channels)`, uint8, after the operations drawn for each, `(n, layers)`.

    Law: what an image becomes depends on itself and its own draw, not on the other images.
    """
    variants, _ = _variants(images.shape[3])
    images = images.permute(0, 3, 1, 2).contiguous()
    for layer in drawn.T:
        images = _applied(images, variants, layer)
    return images.permute(0, 2, 3, 1).contiguous()


def _variants(channels: int) -> tuple[list[Variant], NDArray[np.float64]]:
    drawable = [op for op in OPERATIONS if channels == 3 or not op.colour]
    variants = [(op, magnitude) for op in drawable for magnitude in op.magnitudes]
    return variants, np.array([1 / (len(drawable) * len(op.magnitudes)) for op, _ in variants])


def _applied(images: Tensor, variants: list[Variant], drawn: NDArray[np.int64]) -> Tensor:
    """To image i the variant `drawn[i]`: sort by variant, apply each to its group, sort back."""
    order = np.argsort(drawn, kind="stable")
    there, back = (torch.from_numpy(rows).to(images.device) for rows in (order, np.argsort(order)))
    groups = images.index_select(0, there).split(np.bincount(drawn, minlength=len(variants)).tolist())
    changed = [
        op.apply(group, magnitude) if len(group) else group
        for (op, magnitude), group in zip(variants, groups, strict=True)
    ]
    return torch.cat(changed).index_select(0, back)


def _rotate(images: Tensor, degrees: float) -> Tensor:
    """Counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _warp(images, ((cos, -sin), (sin, cos)))


def _shear_x(images: Tensor, slope: float) -> Tensor:
    return _warp(images, ((1.0, slope), (0.0, 1.0)))


def _shear_y(images: Tensor, slope: float) -> Tensor:
    return _warp(images, ((1.0, 0.0), (slope, 1.0)))


def _warp(images: Tensor, matrix: tuple[tuple[float, float], tuple[float, float]]) -> Tensor:
    """To the place at (x, y) pixels from the centre comes what is at `matrix` (x, y); edges repeated, bilinear.

    torchvision's own would fill with black, which on a bright ground is a shape that no class has.
    """
    n, _, height, width = images.shape
    (xx, xy), (yx, yy) = matrix
    rows = [[xx, xy * height / width, 0.0], [yx * width / height, yy, 0.0]]  # in halves of a side
    theta = torch.tensor(rows, device=images.device).expand(n, 2, 3)
    places = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    warped = nn.functional.grid_sample(images.float(), places, padding_mode="border", align_corners=False)
    return warped.round_().to(torch.uint8)


def _zoom(images: Tensor, corner: tuple[int, int]) -> Tensor:
    """The part at a corner (0 or 1 on either axis) fills the image: a move and a zoom."""
    height, width = images.shape[2:]
    kept = [max(1, round(side * KEPT)) for side in (height, width)]
    top, left = corner[0] * (height - kept[0]), corner[1] * (width - kept[1])
    zoomed: Tensor = functional.resized_crop(images, top, left, *kept, [height, width])
    return zoomed


def _blur(images: Tensor, sigma: float) -> Tensor:
    """3×3, edges mirrored; a line of pixels has nothing to mirror, and stays."""
    return functional.gaussian_blur(images, [3, 3], [sigma, sigma]) if min(images.shape[2:]) > 1 else images


OPERATIONS = (
    Operation("identity", lambda images, _: images),
    Operation("rotate", _rotate, (-15.0, 15.0)),  # degrees
    Operation("shear_x", _shear_x, (-0.2, 0.2)),  # slope
    Operation("shear_y", _shear_y, (-0.2, 0.2)),
    Operation("zoom", _zoom, ((0, 0), (0, 1), (1, 0), (1, 1))),
    Operation("brightness", functional.adjust_brightness, (0.6, 1.4)),  # factors here and below; 1 changes nothing
    Operation("contrast", functional.adjust_contrast, (0.6, 1.4)),
    Operation("saturation", functional.adjust_saturation, (0.4, 1.6), colour=True),
    Operation("hue", functional.adjust_hue, (-0.05, 0.05), colour=True),  # turns of the colour circle, in HSV
    Operation("sharpen", functional.adjust_sharpness, (2.0,)),
    Operation("blur", _blur, (0.8,)),  # standard deviation in pixels
    Operation("autocontrast", lambda images, _: functional.autocontrast(images)),
    Operation("equalize", lambda images, _: functional.equalize(images)),
    Operation("posterize", functional.posterize, (4,)),  # bits that remain
    Operation("solarize", functional.solarize, (192,)),  # from this level on, light turns dark
)
