"""Small charts as SVG text, from arrays to figures that a phone can show: lines, dots and heat maps without scripts."""

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

WIDTH = 360.0
GUTTER = 150.0
LETTER = 5.7  # mean width of a letter, in units of the view box, at the size of STYLE
NUMBERED = 12  # classes, above which a heat map's cells are too small for numbers

# Colours are variables of the page: `--c` and `--d` are the colour and the dashes of a series.
STYLE = """
svg.chart { display: block; width: 100%; height: auto; overflow: visible; font-size: 11px; }
svg.chart text { fill: var(--muted); } svg.chart text.ink { fill: var(--ink); }
svg.chart text.end { text-anchor: end; } svg.chart text.mid { text-anchor: middle; }
svg.chart .grid { stroke: var(--line); fill: none; } svg.chart .frame { stroke: var(--axis); fill: none; }
.lines path { fill: none; stroke: var(--c); stroke-width: 1.7; stroke-dasharray: var(--d); stroke-linejoin: round; }
.lines .thin { stroke-width: 1.1; } .lines .points { stroke-width: 5; stroke-linecap: round; stroke-dasharray: none; }
.lines .grey { --c: var(--faint); --d: none; } .lines .solid { --d: none; } .lines .dashed { --d: 5 3; }
.lines .reference { --c: var(--faint); --d: 1 3; }
.dots .mark { fill: var(--c); stroke: var(--paper); stroke-width: .7; } .dots .bar { stroke: var(--c); fill: none; }
.heat image { image-rendering: pixelated; } .heat text { font-size: 10px; } svg.chart .heat .high { fill: #fff; }
"""

# Drawn from the middle of the mark, in relative steps, so that a series is one path.
SHAPES = (
    "m-3.8 0a3.8 3.8 0 1 1 7.6 0a3.8 3.8 0 1 1-7.6 0",
    "m-3.4-3.4h6.8v6.8h-6.8z",
    "m0-4.8l4.6 8h-9.2z",
    "m0-4.9l4.9 4.9l-4.9 4.9l-4.9-4.9z",
    "m0 4.8l4.6-8h-9.2z",
)
HEAT = (20, 96, 168)

Array = NDArray[np.float64]
_NOTHING = np.empty(0)


@dataclass(frozen=True)
class Axis:
    """What an axis measures and from where to where; `whole` has ticks at whole numbers only."""

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, values: ArrayLike) -> Array:
        """Where values lie: 0 at `low`, 1 at `high`. What is too small for a log axis lies at its lower end."""
        x, ends = np.asarray(values, dtype=np.float64), np.array([self.low, self.high])
        if self.log:
            x, ends = np.log10(np.maximum(x, self.low)), np.log10(ends)
        return np.asarray((x - ends[0]) / (ends[1] - ends[0]))

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the range; `most` at most, if not on a log axis."""
        found = log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high, most)
        slack = 1e-9 * (self.high - self.low)
        return [t for t in found if self.low - slack <= t <= self.high + slack and not (self.whole and t % 1)]


def covering(label: str, values: ArrayLike, *, log: bool = False) -> Axis:
    """The axis with round ends around all finite values, positive ones if `log`; 0 to 1 (1 to 10) where none are."""
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x) & (x > 0)] if log else x[np.isfinite(x)]
    low, high = (x.min(), x.max()) if x.size else ((1.0, 10.0) if log else (0.0, 1.0))
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))
    found = log_ticks(low, high) if log else linear_ticks(low, high)
    return Axis(label, found[0], found[-1], log)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """The most multiples, at most `most`, of 1, 2 or 5 times a power of ten of which the outer ones enclose the range.

    Law: the ticks of the range between the outer ones are the same ticks.
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * m for m in (1, 2, 5, 10, 20, 50)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Powers of ten, all or every so many, and where there is room their 2- and 5-fold; the outer ones enclose."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = [float(f"{m}e{e}") for e in range(first, last + 1) for m in (1, 2, 5)]
    begin = max(i for i, t in enumerate(every) if t <= low * (1 + 1e-9))
    end = min(i for i, t in enumerate(every) if t >= high * (1 - 1e-9))
    fine = every[begin : end + 1]
    if len(fine) <= most:
        return fine
    stride = math.ceil((last - first) / (most - 1))
    return [float(f"1e{e}") for e in range(first, last + stride, stride)]


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
    """Lines over two axes; `marks` are upright lines at x with a word at their head, `data` more attributes."""
    left, top = 12 + LETTER * max(len(number(t)) for t in y.ticks()), 20.0
    box = _Box(left, top, WIDTH - 12 - left, height - top - 34)
    body = [_frame(box, x, y)]
    for i, (at, word) in enumerate(marks):
        across, room = box.left + box.width * float(x.at(at)), LETTER * len(word) + 4
        end = across + room > WIDTH
        body.append(f'<path class="frame" stroke-dasharray="2 3" d="M{_n(across)} {_n(box.top)}v{_n(box.height)}"/>')
        body.append(_text(across + (-3 if end else 3), box.top + 11 + 12 * (i % 2), word, "end" if end else ""))
    body.append('<g class="lines">')
    for line in lines:
        points = np.stack([box.left + box.width * x.at(line.x), box.top + box.height * (1 - y.at(line.y))], axis=-1)
        body.append(f'<path class="{_e(line.key)}" d="{_path(points)}"/>')
        if line.points:
            dots = "".join(f"M{_n(a)} {_n(b)}h0" for a, b in points if np.isfinite([a, b]).all())
            body.append(f'<path class="points {_e(line.key)}" d="{dots}"/>')
    place = f' data-box="{_n(box.left)} {_n(box.top)} {_n(box.width)} {_n(box.height)}"'
    return _svg(title, height, [*body, "</g>"], place + data)


def dot_chart(
    title: str, rows: Sequence[str], dots: Sequence[Dots], x: Axis, *, row_height: float, gutter: float = 0.0,
    zero: float | None = None,
) -> str:  # fmt: skip
    """Marks on a track for each row; row names stand left in a `gutter`, or without one above the track.

    `zero` is where an upright line stands for "no difference".
    """
    left = gutter or 8.0
    name_height = 0.0 if gutter else 13.0
    box = _Box(left, 4.0, WIDTH - 12 - left, len(rows) * (row_height + name_height))
    middles = box.top + name_height + row_height / 2 + (row_height + name_height) * np.arange(len(rows))
    body = [_frame(box, x, None)]
    if zero is not None:
        body.append(f'<path class="frame" d="M{_n(box.left + box.width * float(x.at(zero)))} {_n(box.top)}'
                    f'v{_n(box.height)}"/>')  # fmt: skip
    tracks = "".join(f"M{_n(left)} {_n(m)}h{_n(box.width)}" for m in middles)
    body.append(f'<path class="grid" d="{tracks}"/>')
    for name, middle in zip(rows, middles, strict=True):
        if gutter:
            body.append(_text(left - 8, middle + 4, shortened(name, gutter - 10), "ink end"))
        else:
            body.append(_text(left, middle - row_height / 2 - 2, shortened(name, WIDTH - 20), "ink"))
    body.append('<g class="dots">')
    for series in dots:
        value, low, high = (box.left + box.width * x.at(v) for v in (series.value, series.low, series.high))
        down = middles + series.shift
        bars = "".join(f"M{_n(a)} {_n(m)}H{_n(b)}" for a, b, m in zip(low, high, down, strict=False)
                       if np.isfinite([a, b]).all())  # fmt: skip
        shape = SHAPES[series.shape % len(SHAPES)]
        marks = "".join(f"M{_n(a)} {_n(m)}{shape}" for a, m in zip(value, down, strict=True) if np.isfinite(a))
        bar = f'<path class="bar" d="{bars}"/>' if bars else ""
        body.append(f'<g class="{_e(series.key)}">{bar}<path class="mark" d="{marks}"/></g>')
    return _svg(title, box.top + box.height + 34, [*body, "</g>"])


def heat_map(title: str, shares: Array, names: Sequence[str], rows: str, columns: str) -> str:
    """Shares `(K, K)` between 0 and 1 as a matrix of colours, with numbers in per cent while there is room for them.

    Rows bear their number and name, columns the number of the same class. A row that is not finite stays empty.
    """
    k, numbered = len(names), len(names) <= NUMBERED
    named = [f"{i} {name}" for i, name in enumerate(names, start=1)]
    left = min(GUTTER - 25, 12 + LETTER * max(map(len, named))) if numbered else 16.0
    cell = min((WIDTH - left - 4) / k, 56.0)
    top, side = 32.0, cell * k
    body = [
        _text(left, 11, f"{columns} →", "ink"),
        f'<g class="heat"><image x="{_n(left)}" y="{_n(top)}" width="{side:.2f}" height="{side:.2f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{_png(shares)}"/>',
    ]
    if numbered:
        middles = cell * (np.arange(k) + 0.5)
        body += [_text(left + middle, top - 5, str(i), "mid") for i, middle in enumerate(middles, start=1)]
        body += [_text(left - 5, top + middle + 4, shortened(name, left - 7), "end")
                 for name, middle in zip(named, middles, strict=True)]  # fmt: skip
        body += [_text(left + middles[j], top + middles[i] + 4, f"{100 * share:.0f}", f"mid {_contrast(share)}")
                 for (i, j), share in np.ndenumerate(shares) if share >= 0.005]  # fmt: skip
    else:
        body += [_text(left, top - 5, "1", ""), _text(left + side, top - 5, str(k), "end")]
        body.append(f'<text transform="translate({_n(left - 5)} {_n(top + side)}) rotate(-90)">{_e(rows)} →</text>')
    body.append(f'</g><path class="frame" d="M{_n(left)} {_n(top)}h{_n(side)}v{_n(side)}h{_n(-side)}z"/>')
    return _svg(title, top + side + 4, body)


def key_mark(shape: int) -> str:
    """The line and the mark of a series, for legends."""
    return (
        '<svg class="key" viewBox="0 0 30 12" aria-hidden="true"><g class="lines"><path d="M0 6h30"/></g>'
        f'<g class="dots"><path class="mark" d="M15 6{SHAPES[shape % len(SHAPES)]}"/></g></svg>'
    )


def number(value: float) -> str:
    """A tick as short text."""
    return f"{value:,.10g}".replace("-", "−")


def shortened(name: str, room: float) -> str:
    """As much of a name as `room` units hold."""
    most = max(int(room / LETTER), 2)
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


@dataclass(frozen=True)
class _Box:
    """Where the data are drawn, in units of the view box."""

    left: float
    top: float
    width: float
    height: float


def _svg(title: str, height: float, body: Sequence[str], data: str = "") -> str:
    name = _e(title)
    return (f'<svg class="chart" viewBox="0 0 {_n(WIDTH)} {_n(height)}" role="img" aria-label="{name}"{data}>'
            f"{''.join(body)}</svg>")  # fmt: skip


def _frame(box: _Box, x: Axis, y: Axis | None) -> str:
    """Grid lines at the ticks, their numbers, and what the axes measure: y above the box, x below it."""
    bottom, grid, words = box.top + box.height, "", []
    columns = x.ticks(6 if box.width > 230 else 5)
    for tick, share in zip(columns, x.at(columns), strict=True):
        across = box.left + box.width * share
        grid += f"M{_n(across)} {_n(box.top)}v{_n(box.height)}"
        words.append(_text(across, bottom + 14, number(tick), "mid"))
    for tick, share in zip(y.ticks(), y.at(y.ticks()), strict=True) if y else ():
        down = box.top + box.height * (1 - share)
        grid += f"M{_n(box.left)} {_n(down)}h{_n(box.width)}"
        words.append(_text(box.left - 5, down + 4, number(tick), "end"))
    words.append(_text(WIDTH - 12, bottom + 28, x.label, "end"))
    if y:
        words.append(_text(0, 10, y.label, ""))
    return f'<path class="grid" d="{grid}"/>{"".join(words)}'


def _path(points: Array) -> str:
    """Moves and lines through points `(n, 2)`; a point that is not finite lifts the pen."""
    drawn, down = "", False
    for (a, b), there in zip(points, np.isfinite(points).all(axis=1), strict=True):
        if there:
            drawn += f"{' ' if down else 'M'}{_n(a)} {_n(b)}"
        down = bool(there)
    return drawn


def _png(shares: Array) -> str:
    """One pixel a cell, its opacity the share, so that it lies well on light and on dark paper."""
    levels = np.round(np.nan_to_num(np.clip(shares, 0.0, 1.0)) * 63).astype(np.uint8)
    image, buffer = Image.fromarray(levels).convert("P"), io.BytesIO()
    image.putpalette(HEAT * 64)
    image.save(buffer, "PNG", transparency=bytes(round(i * 255 / 63) for i in range(64)))
    return base64.b64encode(buffer.getvalue()).decode()


def _contrast(share: float) -> str:
    return "high" if share > 0.8 else "ink"


def _text(x: float, y: float, words: str, key: str) -> str:
    attribute = f' class="{key}"' if key else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{attribute}>{_e(words)}</text>'


def _e(words: str) -> str:
    return html.escape(words)


def _n(value: float) -> str:
    """A coordinate to a tenth of a unit, in the fewest letters."""
    return f"{round(float(value), 1) + 0.0:.8g}"  # no −0
