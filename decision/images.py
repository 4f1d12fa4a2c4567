"""Bytes to pixels: one decoder and one resize, for training's evaluation and for the service alike.

bytes ─ magic ─▶ format ─ Pillow ─▶ upright image ─ channels, resize ─▶ uint8 (height, width, channels)
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from decision.errors import BrokenImage, TooManyPixels, UnsupportedImage

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WebP", "TIFF", "BMP", "GIF")

Pixels: TypeAlias = NDArray[np.uint8]
"""`(height, width, channels)`, 0 to 255."""
Images: TypeAlias = NDArray[np.uint8]
"""Pixels of n images, `(n, height, width, channels)`."""

Resize: TypeAlias = Literal["bilinear", "draft"]
DRAFT_FACTOR = 2

_MAGIC: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    ("JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),
    ("WEBP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    ("TIFF", lambda head: head.startswith((b"II*\0", b"MM\0*"))),
    ("BMP", lambda head: head.startswith(b"BM")),
    ("GIF", lambda head: head.startswith((b"GIF87a", b"GIF89a"))),
)
_EIGHT_OF_16_BITS = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)
_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})


@dataclass(frozen=True)
class InputSpec:
    """What a network takes: uint8 `(height, width, channels)`, grey (1) or RGB (3), and how others get there.

    `resize="bilinear"` is Pillow's antialiased bilinear filter over the whole image: the aspect ratio
    is not kept, because a crop would cut away what lies at the edge. `"draft"` is the same of a JPEG decoded at a half,
    a quarter or an eighth of its size, where no side of that is less than twice the network's longer one: several times
    as fast on photographs, and slightly other pixels.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # read by the bundle's schema; no import needed here

    height: int
    width: int
    channels: Literal[1, 3]
    resize: Resize = "bilinear"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels not in (1, 3):
            raise ValueError(f"expected height, width ≥ 1 and 1 or 3 channels, got {self}")

    @property
    def least_side(self) -> int | None:
        """Of a JPEG's draft; None where there is to be none."""
        return DRAFT_FACTOR * max(self.height, self.width) if self.resize == "draft" else None


def sniff(data: bytes) -> str | None:
    """Pillow's name of the image format that the bytes begin like, or None; what a client calls them is no evidence."""
    head = data[:12]
    return next((name for name, begins in _MAGIC if begins(head)), None)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, least_side: int | None = None) -> Image.Image:
    """The first frame, turned upright by its EXIF orientation, in mode L or RGB.

    With `least_side` a JPEG comes at the least of 1/8, 1/4, 1/2 and all of its size that has no shorter side.
    16-bit grey is scaled to 8 bits, never clipped; CMYK and palettes are converted; alpha is dropped,
    as torchvision's folder loader does. Raises UnsupportedImage, BrokenImage or TooManyPixels.
    """
    name = sniff(data)
    if name is None:
        raise UnsupportedImage(f"expected one of {', '.join(FORMATS)}, got bytes that begin with {data[:8]!r}")
    try:
        image = Image.open(io.BytesIO(data), formats=[name])
        if image.width * image.height > max_pixels:
            raise TooManyPixels(f"expected at most {max_pixels:,} pixels, got {image.width:,} × {image.height:,}")
        if least_side is not None:
            image.draft(image.mode, (least_side, least_side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # else it copies what stands upright
        return _eight_bit(image)
    except (TooManyPixels, UnsupportedImage):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixels(f"expected at most {max_pixels:,} pixels, got more") from None
    except MemoryError:
        raise
    except Exception as error:  # a decoder fed hostile bytes may raise anything; all of it means the same
        raise BrokenImage(f"expected a readable {name} image, got one that is cut off or damaged") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_EIGHT_OF_16_BITS[np.asarray(image)])
    if image.mode not in _MODES:
        raise UnsupportedImage(f"expected grey, colour or palette pixels of 8 or 16 bits, got mode {image.mode!r}")
    return _in_mode("L" if image.mode in ("1", "L", "LA", "La") else "RGB", image)


def _in_mode(mode: str, image: Image.Image) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # which copies an image that has it


def to_input(image: Image.Image, spec: InputSpec) -> Pixels:
    """The pixels `(height, width, channels)` that a network takes, from an image in mode L or RGB.

    Law: an image that already has the network's size and channels comes through unchanged.
    """
    image = _in_mode("L" if spec.channels == 1 else "RGB", image)
    if image.size != (spec.width, spec.height):
        image = image.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(spec.height, spec.width, spec.channels)


def read_image(data: bytes, spec: InputSpec, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Encoded bytes to the pixels `(height, width, channels)` that a network takes. Raises ImageError."""
    return to_input(decode(data, max_pixels=max_pixels, least_side=spec.least_side), spec)
