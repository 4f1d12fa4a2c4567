"""Small charts as SVG text, from arrays to figures that a phone can show: lines, dots and heat maps without scripts."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from training.axes import Array, Axis, number
from training.svg import drawing, n, stroke, text

WIDTH = 360.0
GUTTER = 180.0
LETTER = 6.0  # mean width of a letter, in units of the view box, at the size of STYLE
NUMBERED = 12  # classes, above which a heat map's cells are too small for numbers

# Colours are variables of the page: `--c` and `--d` are the colour and the dashes of a series.
STYLE = """
svg.chart { display: block; width: 100%; height: auto; overflow: visible; font-size: 11px; }
svg.chart text { fill: var(--muted); }
svg.chart text.ink { fill: var(--ink); }
svg.chart text.end { text-anchor: end; }
svg.chart text.mid { text-anchor: middle; }
svg.chart .grid { stroke: var(--line); fill: none; }
svg.chart .frame { stroke: var(--axis); fill: none; }
.lines path { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-dasharray: var(--d); stroke-linejoin: round; }
.lines .thin { stroke-width: 1.1; }
.lines .points { stroke-width: 5; stroke-linecap: round; stroke-dasharray: none; }
.lines .grey { --c: var(--faint); --d: none; }
.lines .solid { --d: none; }
.lines .dashed { --d: 5 3; }
.lines .reference { --c: var(--faint); --d: 1 3; }
.dots .mark { fill: var(--c); stroke: var(--paper); stroke-width: .7; }
.dots .bar { stroke: var(--c); fill: none; }
.heat image { image-rendering: pixelated; }
.heat text { font-size: 10.8px; }
svg.chart .heat .high { fill: #fff; font-weight: 500; }
@media screen and (prefers-color-scheme: dark) { .heat image { filter: brightness(1.6); } }
"""

# Drawn from the middle of the mark, in relative steps, so that a series is one path.
SHAPES = (
    "m-3.8 0a3.8 3.8 0 1 1 7.6 0a3.8 3.8 0 1 1-7.6 0",
    "m-3.4-3.4h6.8v6.8h-6.8z",
    "m0-4.8l4.6 8h-9.2z",
    "m0-4.9l4.9 4.9l-4.9 4.9l-4.9-4.9z",
    "m0 4.8l4.6-8h-9.2z",
)
HEAT = (12, 80, 150)

_NOTHING = np.empty(0)


@dataclass(frozen=True, eq=False)
class Line:
    """A line through `(x, y)`, broken where y is not finite; `key` are its CSS classes."""

    key: str
    x: Array
    y: Array
    points: bool = False


@dataclass(frozen=True, eq=False)
class Dots:
    """A mark for each row at `value` `(rows,)`, with bars from `low` to `high` where given; `key` are CSS classes.

    `shift` moves the marks off the middle of the row, in units of the view box, `shape` is one of SHAPES.
    """

    key: str
    value: Array
    low: Array = field(default_factory=_NOTHING.copy)
    high: Array = field(default_factory=_NOTHING.copy)
    shape: int = 0
    shift: float = 0.0


def line_chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, *, marks: Sequence[tuple[float, str]] = (),
    height: float = 250.0, data: str = "",
) -> str:  # fmt: skip
    """Lines over two axes; `marks` are upright lines at x with a word at their head, `data` is more attributes."""
    left, top = 12 + LETTER * max(len(number(t)) for t in y.ticks()), 34.0 if marks else 20.0
    box = _Box(left, top, WIDTH - 12 - left, height - top - 34)
    body = [_frame(box, x, y)]
    for at, word in marks:
        across = float(box.across(x, at))
        end = across + LETTER * len(word) > WIDTH
        body.append(f'<path class="frame" d="M{n(across)} {n(box.top - 12)}v{n(box.height + 12)}"/>')
        body.append(text(across + (-4 if end else 4), box.top - 4, word, "end" if end else ""))
    drawn = "".join(_line(line, np.stack([box.across(x, line.x), box.down(y, line.y)], axis=-1)) for line in lines)
    place = f' data-box="{n(box.left)} {n(box.top)} {n(box.width)} {n(box.height)}"'
    return drawing(title, WIDTH, height, [*body, f'<g class="lines">{drawn}</g>'], place + data)


def dot_chart(
    title: str, rows: Sequence[str], dots: Sequence[Dots], x: Axis, *, row_height: float, gutter: float = 0.0,
    zero: float | None = None,
) -> str:  # fmt: skip
    """Marks on a track for each row; row names stand left in a `gutter`, or without one above the track.

    `zero` is where an upright line stands for "no difference".
    """
    left = gutter or 8.0
    name_height = 0.0 if gutter else 14.0
    box = _Box(left, 4.0, WIDTH - 12 - left, len(rows) * (row_height + name_height))
    middles = box.top + name_height + row_height / 2 + (row_height + name_height) * np.arange(0.0, len(rows))
    body = [_frame(box, x, None)]
    if zero is not None:
        body.append(f'<path class="frame" d="M{n(box.across(x, zero))} {n(box.top)}v{n(box.height)}"/>')
    tracks = "".join(f"M{n(left)} {n(m)}h{n(box.width)}" for m in middles)
    body.append(f'<path class="grid" d="{tracks}"/>')
    for name, middle in zip(rows, middles, strict=True):
        if gutter:
            body.append(text(left - 8, middle + 4, squeezed(name, gutter - 10), "ink end"))
        else:
            body.append(text(left, middle - row_height / 2 - 2, shortened(name, WIDTH - 20), "ink"))
    drawn = "".join(_series(series, box, x, middles) for series in dots)
    return drawing(title, WIDTH, box.top + box.height + 34, [*body, f'<g class="dots">{drawn}</g>'])


def heat_map(title: str, shares: Array, names: Sequence[str], rows: str, columns: str) -> str:
    """Shares `(K, K)` between 0 and 1 as a matrix of colours, with numbers in per cent while there is room for them.

    Rows bear their number and name, columns the number of the same class. A row that is not finite stays empty.
    """
    k, numbered = len(names), len(names) <= NUMBERED
    named = [f"{i} {name}" for i, name in enumerate(names, start=1)]
    left = min(125.0, 12 + LETTER * max(map(len, named))) if numbered else 16.0
    cell = min((WIDTH - left - 4) / k, 56.0)
    top, side = 32.0, cell * k
    body = [
        text(left, 11, f"{columns} →", "ink"),
        f'<g class="heat"><image x="{n(left)}" y="{n(top)}" width="{side:.2f}" height="{side:.2f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{_png(shares)}"/>',
    ]
    if numbered:
        middles = cell * (np.arange(k) + 0.5)
        body += [text(left + middle, top - 5, str(i), "mid") for i, middle in enumerate(middles, start=1)]
        body += [text(left - 5, top + middle + 4, shortened(name, left - 7), "end")
                 for name, middle in zip(named, middles, strict=True)]  # fmt: skip
        body += [text(left + middles[j], top + middles[i] + 4, f"{100 * share:.0f}", f"mid {_contrast(share)}")
                 for (i, j), share in np.ndenumerate(shares) if share >= 0.005]  # fmt: skip
    else:
        body += [text(left, top - 5, "1"), text(left + side, top - 5, str(k), "end")]
        body.append(
            f'<text transform="translate({n(left - 5)} {n(top + side)}) rotate(-90)">{html.escape(rows)} →</text>'
        )
    body.append(f'</g><path class="frame" d="M{n(left)} {n(top)}h{n(side)}v{n(side)}h{n(-side)}z"/>')
    return drawing(title, WIDTH, top + side + 4, body)


def key_mark(shape: int) -> str:
    """The line and the mark of a series, for legends."""
    return (
        '<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><g class="lines"><path d="M0 6h30"/></g>'
        f'<g class="dots"><path class="mark" d="M15 6{SHAPES[shape % len(SHAPES)]}"/></g></svg>'
    )


def shortened(name: str, room: float) -> str:
    """As much of a name as `room` units hold."""
    most = max(int(room / LETTER), 2)
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def squeezed(name: str, room: float) -> str:
    """As `shortened`, but what goes stands in the middle: variants of a method differ at the end."""
    most = max(int(room / LETTER), 3)
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[len(name) - most // 2 :]}"


@dataclass(frozen=True)
class _Box:
    """Where the data are drawn, in units of the view box."""

    left: float
    top: float
    width: float
    height: float

    def across(self, x: Axis, values: ArrayLike) -> Array:
        """Where values lie from left to right."""
        return np.asarray(self.left + self.width * x.at(values))

    def down(self, y: Axis, values: ArrayLike) -> Array:
        """Where values lie from top to bottom."""
        return np.asarray(self.top + self.height * (1 - y.at(values)))


def _frame(box: _Box, x: Axis, y: Axis | None) -> str:
    """Grid lines at the ticks, their numbers, and what the axes measure: y above the box, x below it."""
    bottom, grid, words = box.top + box.height, "", []
    columns, rows = x.ticks(6 if box.width > 230 else 5), y.ticks() if y else []
    for tick, across in zip(columns, box.across(x, columns), strict=True):
        grid += f"M{n(across)} {n(box.top)}v{n(box.height)}"
        words.append(text(across, bottom + 14, number(tick), "mid"))
    for tick, down in zip(rows, box.down(y, rows), strict=True) if y else ():
        grid += f"M{n(box.left)} {n(down)}h{n(box.width)}"
        words.append(text(box.left - 5, down + 4, number(tick), "end"))
    words.append(text(WIDTH - 12, bottom + 28, x.label, "end"))
    if y:
        words.append(text(0, 10, y.label))
    return f'<path class="grid" d="{grid}"/>{"".join(words)}'


def _line(line: Line, points: Array) -> str:
    """A line whose points lie at `(n, 2)`."""
    drawn = f'<path class="{html.escape(line.key)}" d="{stroke(points)}"/>'
    if not line.points:
        return drawn
    dots = "".join(f"M{n(a)} {n(b)}h0" for a, b in points if np.isfinite([a, b]).all())
    return drawn + f'<path class="points {html.escape(line.key)}" d="{dots}"/>'


def _series(dots: Dots, box: _Box, x: Axis, middles: Array) -> str:
    """Marks and bars of one series, on rows whose middles are given."""
    value, low, high = (box.across(x, v) for v in (dots.value, dots.low, dots.high))
    down, shape = middles + dots.shift, SHAPES[dots.shape % len(SHAPES)]
    bars = "".join(f"M{n(a)} {n(m)}H{n(b)}" for a, b, m in zip(low, high, down, strict=False)
                   if np.isfinite([a, b]).all())  # fmt: skip
    marks = "".join(f"M{n(a)} {n(m)}{shape}" for a, m in zip(value, down, strict=True) if np.isfinite(a))
    bar = f'<path class="bar" d="{bars}"/>' if bars else ""
    return f'<g class="{html.escape(dots.key)}">{bar}<path class="mark" d="{marks}"/></g>'


def _png(shares: Array) -> str:
    """One pixel a cell, its opacity the share, so that it lies well on light and on dark paper."""
    levels = np.round(np.nan_to_num(np.clip(shares, 0.0, 1.0)) * 63).astype(np.uint8)
    image, buffer = Image.fromarray(levels).convert("P"), io.BytesIO()
    image.putpalette(HEAT * 64)
    image.save(buffer, "PNG", transparency=bytes(round(i * 255 / 63) for i in range(64)))
    return base64.b64encode(buffer.getvalue()).decode()


def _contrast(share: float) -> str:
    return "high" if share > 0.65 else "ink"
