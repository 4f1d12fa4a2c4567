"""SVG as text: elements whose words stay text and whose coordinates are short."""

import html
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
from numpy.typing import NDArray


def drawing(title: str, width: float, height: float, body: Sequence[str], data: str = "") -> str:
    """An image of its own, with a name for those who do not see it; `data` is more attributes."""
    name = html.escape(title)
    return (f'<svg class="chart" viewBox="0 0 {n(width)} {n(height)}" role="img" aria-label="{name}"{data}>'
            f"{''.join(body)}</svg>")  # fmt: skip


def text(x: SupportsFloat, y: SupportsFloat, words: str, key: str = "") -> str:
    """Words at a point; `key` are CSS classes."""
    attribute = f' class="{key}"' if key else ""
    return f'<text x="{n(x)}" y="{n(y)}"{attribute}>{html.escape(words)}</text>'


def stroke(points: NDArray[np.float64]) -> str:
    """Moves and lines through points `(n, 2)`; a point that is not finite lifts the pen."""
    drawn, down, finite = "", False, np.isfinite(points)
    for (a, b), there in zip(points, (finite[:, 0] & finite[:, 1]).tolist(), strict=True):
        if there:
            drawn += f"{' ' if down else 'M'}{n(a)} {n(b)}"
        down = there
    return drawn


def n(value: SupportsFloat) -> str:
    """A coordinate to a tenth of a unit, in the fewest letters."""
    return f"{round(float(value), 1) + 0.0:.8g}"  # no −0
