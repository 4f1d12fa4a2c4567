"""What can be wrong with an input, in the order in which an input meets it.

    bytes ──────── UnsupportedImage (no format we decode)
      └▶ image ─── BrokenImage (does not decode), TooManyPixels
    document ───── PolicyError (cannot be a policy for this bundle)
    folder ─────── BundleError (not a bundle, or not an intact one)

All are `ValueError`s whose message says what was expected and what came.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MOST_NAMED = 20


class ImageError(ValueError):
    """Bytes that give no image to classify."""


class UnsupportedImage(ImageError):
    """The bytes do not begin like any image format we decode."""


class BrokenImage(ImageError):
    """The bytes begin like an image and do not decode to one."""


class TooManyPixels(ImageError):
    """The image's header announces more pixels than we decode."""


class BundleError(ValueError):
    """A folder that is not an intact bundle of a format this version reads."""


@dataclass(frozen=True)
class Fault:
    """One invalid place of a policy document: a JSON pointer (RFC 6901) and what is wrong there."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer or 'document'}: {self.detail}"


class PolicyError(ValueError):
    """A document that cannot be a policy for this bundle; `faults` names every invalid place."""

    def __init__(self, *faults: Fault) -> None:
        more = [f"and {len(faults) - MOST_NAMED:,} more"] if len(faults) > MOST_NAMED else []
        super().__init__("; ".join([*map(str, faults[:MOST_NAMED]), *more]))
        self.faults = faults


def listed(names: Iterable[str]) -> str:
    """Names as a message shows them: the first twenty, and how many there are."""
    every = list(names)
    return str(every) if len(every) <= MOST_NAMED else f"{str(every[:MOST_NAMED])[:-1]}, …] ({len(every):,} in all)"


def pointer(*keys: object) -> str:
    """JSON pointer to nested keys: `pointer("rule", "a/b")` is `"/rule/a~1b"`."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)
