"""An inspection as text for a terminal of 100 columns, or a file."""

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.advice import named
from training.compare_words import many
from training.duplicates import ALIKE, Duplicates
from training.encoded import MOST_SHOWN
from training.findings import Advice, ClassFinding, Findings, Inspection
from training.pairs import Kind, Pair, Pairs

WIDTH = 100
MOST_CLASSES, FREQUENT, RAREST = 30, 5, 15
LONGEST_NAME = 24
EXAMPLES = {"leaks": 5, "conflicts": 10}


def as_text(inspection: Inspection) -> str:
    """A table of the classes, then what was found, then advice with its sources."""
    f = inspection.findings
    blocks = [_head(f), _table(f), _legend(f), "Findings", _list(_lines(f)), "Advice", _advice(inspection.advice)]
    return "\n\n".join(blocks) + "\n"


def _head(f: Findings) -> str:
    parts = ", ".join(f"{part} {sum(c.parts[part] for c in f.classes):,}" for part in f.classes[0].parts)
    divided = f"divided into {parts}" if len(f.classes[0].parts) > 1 else "not divided into parts"
    related = "" if f.groups == f.images else f" in {f.groups:,} groups"
    thinned = "" if f.imbalance is None else f", thinned to {f.imbalance} (not with --imbalance none)"
    below = "Images of each part" if f.refused else f"Images of each split, with seed {f.seed}{thinned}"
    return _wrapped(f"{f.data}: {f.images:,} images{related}, {len(f.classes):,} classes, {divided}. {below}:")


def _table(f: Findings) -> str:
    """The classes, most frequent first; of many classes both ends."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    longest = min(LONGEST_NAME, max(len(c.name) for c in f.classes))
    table.add_column("class", overflow="fold", min_width=max(8, longest))
    for name in _headers(f):
        table.add_column(name, justify="left" if name == "size" else "right", no_wrap=True)
    ordered = sorted(f.classes, key=lambda c: -c.train)
    left_out = len(ordered) - FREQUENT - RAREST if len(ordered) > MOST_CLASSES else 0
    for place, c in enumerate(ordered):
        if left_out and place == FREQUENT:
            table.add_row(Text(f"… {left_out:,} more"))
        if not FREQUENT <= place < FREQUENT + left_out:
            table.add_row(*map(Text, _row(f, c)))
    buffer = io.StringIO()
    Console(file=buffer, width=WIDTH, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().split("\n"))


def _headers(f: Findings) -> list[str]:
    counts = f.classes[0].splits or f.classes[0].parts
    return [*counts, *_grouped(f, "groups"), "share", "× K", "size", *(f"{t.recall:g}" for t in f.targets), "best"]


def _row(f: Findings, c: ClassFinding) -> list[str]:
    counts = [f"{n:,}" for n in (c.splits or c.parts).values()]
    certified = ["yes" if t.recall in c.certifiable else "no" for t in f.targets]
    unknown = ["?"] * (len(f.targets) + 1)
    return [c.name, *counts, *_grouped(f, f"{c.held_out:,}"), f"{c.share:.1%}", f"{c.relative:.2f}", c.size,
            *(unknown if f.refused else [*certified, f"{c.best_recall:.3f}"])]  # fmt: skip


def _grouped(f: Findings, cell: str) -> list[str]:
    """A column of its own for held-out groups, where these are not the tune images."""
    return [cell] if f.groups < f.images and not f.refused else []


def _legend(f: Findings) -> str:
    """What the columns mean, one a line."""
    recalls = ", ".join(f"{t.recall:g}" for t in f.targets)
    related = (
        {"groups": "of related images, in tune: a certificate counts one image of each"} if _grouped(f, "") else {}
    )
    columns = {} if f.refused else {
        "train": "what the network learns from", "calibrate": "what probabilities are calibrated on",
        "tune": "what certificates are counted on", "test": "what the metrics are measured on",
    }  # fmt: skip
    columns |= related | {
        "share": "of the train images",
        "× K": "share times number of classes: 1 is even; below 0.5, rare against the others",
        "size": "many (> 100), medium (20 to 100) or few (< 20) train images",
        recalls: "whether tune certifies that recall, of the class by itself, with confidence 0.95",
        "best": "the highest recall that it certifies",
    }
    if f.refused:
        columns |= {"?": "not known without a split"}
    width = max(map(len, columns)) + 2
    return "\n".join(f"{name:<{width}}{meaning}" for name, meaning in columns.items())


def _list(items: Iterable[str]) -> str:
    return "\n".join(_wrapped(item, "- ") for item in items)


def _advice(advice: Iterable[Advice]) -> str:
    """What was seen, and below it what to do about it."""
    lines = []
    for seen, rows in groupby(advice, key=lambda a: a.seen):
        lines += [_wrapped(seen, "- "), *(_wrapped(f"{a.advice} [{a.source}]", "  → ") for a in rows)]
    return "\n".join(lines)


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet),
                         break_on_hyphens=False)  # fmt: skip


def _lines(f: Findings) -> Iterator[str]:
    """The findings one by one."""
    if f.refused:
        yield f"The split is refused: {f.refused}. Train images below are those of the source's train part."
    minority = many(sum(c.minority for c in f.classes), "minority class", "minority classes")
    yield (f"{f.train:,} train images, ρ = {f.rho:,.4g} (largest over smallest class), μ = {f.mu:.2g} ({minority}: "
           "fewer images than the geometric mean of the largest and the smallest).")  # fmt: skip
    test = "" if f.majority_share_test is None else f", of {f.majority_share_test:.1%} on the test split"
    yield f"Always answering class {f.majority} has an accuracy of {f.majority_share:.1%} on the train images{test}."
    yield from _certificates(f)
    yield from _duplicates(f.duplicates)
    if f.not_images:
        n, some = len(f.not_images), ", ".join(f.not_images[:MOST_SHOWN])
        more = f", and {n - MOST_SHOWN:,} more in --json" if n > MOST_SHOWN else ""
        yield f"Left out as no images, {many(n, 'file')}: {some}{more}."
    if f.unreadable:
        yield f"Should be images and cannot be read, {many(len(f.unreadable), 'file')}:"
        yield from f.unreadable


def _certificates(f: Findings) -> Iterator[str]:
    takes = "; ".join(f"{t.held_out:,} for recall {t.recall:g}, so {t.total:,} {f.pool}" for t in f.targets)
    jointly = ", ".join(f"{t.jointly:,}" for t in f.targets)
    yield (f"A certificate with confidence 0.95 takes tune images (groups) of a class: {takes}. Certificates for all "
           f"{len(f.classes):,} classes at once take {jointly} of each.")  # fmt: skip
    for t in () if f.refused else f.targets:
        names = [c.name for c in f.classes if t.recall in c.certifiable]
        some = f"{'classes' if len(names) > 1 else 'class'} {named(names)}"
        which = "every class" if len(names) == len(f.classes) else some if names else "no class"
        yield f"Recall {t.recall:g} can be certified for {which}."


def _duplicates(d: Duplicates) -> Iterator[str]:
    sample = f"; a sample, {d.queries:,} images against {d.references:,} of {d.images:,}" if d.sampled else ""
    yield from _pairs("Exact duplicates (equal pixels)", d.exact)
    yield from _pairs(f"Near duplicates (correlation ≥ {ALIKE} of grey thumbnails{sample})", d.near)
    if d.flat:
        yield f"{d.flat:,} images have one grey value all over: blank files?"


_WORDS: dict[Kind, str] = {
    "across": "in different parts of the data",
    "torn": "that the random split may separate",
    "together": "kept together by their group",
    "conflicting": "with different labels",
}


def _pairs(title: str, pairs: Pairs) -> Iterator[str]:
    every = pairs.counts["all"]
    if every.pairs == 0:
        yield f"{title}: none."
        return
    kinds = [f"{pairs.counts[kind].pairs:,} {words} ({_by_part(pairs.counts[kind].images)})"
             for kind, words in _WORDS.items() if pairs.counts[kind].pairs]  # fmt: skip
    yield (
        f"{title}: {many(every.pairs, 'pair')} ({_by_part(every.images)} images)"
        + "".join(f"; {k}" for k in kinds)
        + "."
    )
    if pairs.leaks:
        yield _examples("Leaks", pairs.leaks, EXAMPLES["leaks"])
    if pairs.conflicts:
        yield _examples("Different labels", pairs.conflicts, EXAMPLES["conflicts"])


def _examples(title: str, pairs: tuple[Pair, ...], most: int) -> str:
    more = ", and more in --json" if len(pairs) > most else ""
    return (
        f"{title} (= equal, ~ alike, with the correlation), for example: {'; '.join(map(_pair, pairs[:most]))}{more}."
    )


def _by_part(images: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {part}" for part, n in images.items() if n)


def _pair(pair: Pair) -> str:
    (a, b), (first, second) = pair.images, pair.labels
    classes = f"class {first}" if first == second else f"classes {first} and {second}"
    if pair.correlation == 1:
        return f"{a} = {b} ({classes})"
    return f"{a} ~ {b} ({pair.correlation:.4f}, {classes})"
