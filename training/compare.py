"""python -m training compare DATA: methods × seeds, paired by seed, each trained once, judged alike, in one report."""

import bisect
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.cells import Made, Place, Train, keep_corrupted, load_cell, replace_file, require_same, train_cell
from training.compare_table import as_json, as_markdown
from training.comparison import Comparison
from training.config import TrainingConfig
from training.corruptions import CORRUPTIONS, SOURCE, corrupted
from training.errors import DataError
from training.export import ExportError, onnx_logits
from training.files import batched
from training.loading import load, workers_of
from training.measure import CorruptedLogits, other_mix
from training.splits import split

MOST_CORRUPTED = 10_000
CHUNK = 256
PENDING = "not trained yet"


@dataclass(frozen=True)
class Contestant:
    """A method under the name that the report gives it, and the configuration of its runs but for seed and name."""

    name: str
    config: TrainingConfig


def compare(
    config: TrainingConfig, contestants: Sequence[Contestant], seeds: int, out: Path, train: Train
) -> Comparison | None:
    """Train what `out` does not hold yet, and keep compare.json, compare.md and compare.html in `out` up to date.

    A seed decides split, weights and batches alike, so that methods are paired by it. A method that cannot be trained
    is named as missing, the others go on. DataError where `out` has cells of another configuration or of other data,
    or where nothing could be trained. None on the processes of a distributed run that write nothing.
    """
    configs = {Place(out, c.name, config.seed + s): c.config for s in range(seeds) for c in contestants}
    fingerprint = load(config).fingerprint()
    for place, own in configs.items():
        require_same(place, own, fingerprint)
    cells = {place: load_cell(place) for place in configs if place.made() and place.corrupted.is_file()}
    missing = {place: PENDING for place in configs if place not in cells}

    def report() -> Comparison:
        numbers = range(config.seed, config.seed + seeds)
        comparison = comparison_of(cells, [c.name for c in contestants], numbers, missing)
        write(comparison, out)
        return comparison

    writes = True
    for place in list(missing):
        if cells and writes:
            report()  # it can be read while the next cell trains
        print(f"{place.name}: {len(cells) + 1} of {len(configs)}", file=sys.stderr)
        try:
            writes = make_cell(place, configs[place], fingerprint, train)
            if writes:
                cells[place] = load_cell(place)
                del missing[place]
        except (DataError, ExportError) as error:
            missing[place] = str(error).replace(f"{out}/", "")  # no path of this machine goes into the report
    if not writes:
        return None
    if not cells:
        raise DataError("nothing could be trained: " + "; ".join(f"{p.name}: {why}" for p, why in missing.items()))
    comparison = report()
    print(as_markdown(comparison))
    return comparison


def make_cell(place: Place, config: TrainingConfig, fingerprint: str, train: Train) -> bool:
    """Train a cell, if it is not, and keep what its bundle lacks. False on a process that writes nothing."""
    if not place.made() and not train_cell(place, config, fingerprint, train):
        return False
    keep_corrupted(place, corrupted_logits(place, replace(config, seed=place.seed)))
    return True


def corrupted_logits(place: Place, config: TrainingConfig) -> CorruptedLogits:
    """Logits of corrupted test images, at most 10,000, as the exported network computes them."""
    dataset, bundle = load(config), place.bundle()
    test = split(dataset, config.imbalance, config.seed).test
    if not np.array_equal(dataset.labels[test], bundle.holdout.part("test").labels):
        raise DataError(f"{place.name}: expected the test images that its bundle holds, got others")
    places = spread(dataset.labels[test], MOST_CORRUPTED, np.random.default_rng([config.seed, 98]))
    rows, network = test[places], bundle.network.read_bytes()
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CORRUPTIONS}
    for chunk, images in zip(chunks, batched(dataset.images, chunks, workers=workers_of(config)), strict=True):
        for name, kept in logits.items():
            kept.append(onnx_logits(network, corrupted(name, images, chunk)))
    return CorruptedLogits(places, {name: np.concatenate(kept) for name, kept in logits.items()})


def spread(labels: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places, in rising order, of at most `most` of the labels `(n,)`, drawn at random, rare classes whole first.

    No class gets more than another that has images left: what serves a mean over classes best.
    """
    counts = np.bincount(labels)
    cap = bisect.bisect_right(range(1, counts.max() + 1), most, key=lambda c: np.minimum(counts, c).sum())
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    return np.sort(order[rank < max(cap, 1)])


def comparison_of(
    cells: Mapping[Place, Made], methods: Sequence[str], seeds: Sequence[int], missing: Mapping[Place, str]
) -> Comparison:
    """The comparison that these cells make."""
    ordered = sorted(cells.values(), key=lambda made: (methods.index(made.cell.method), made.cell.seed))
    manifest = ordered[0].manifest
    return Comparison(
        classes=manifest.classes, counts=manifest.counts["train"], methods=tuple(methods), seeds=tuple(seeds),
        cells=tuple(made.cell for made in ordered),
        facts=facts(ordered) | {"missing": {f"{p.method}, seed {p.seed}": why for p, why in missing.items()}},
    )  # fmt: skip


def facts(cells: Sequence[Made]) -> dict[str, Any]:
    """What a reader must know of these cells, none of it a path."""

    def distinct(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))

    def told(name: str) -> str:
        return distinct(made.manifest.training[name] for made in cells)

    n_corrupted = max(made.n_corrupted for made in cells)
    reweighted = any(other_mix(made.manifest) for made in cells)
    return {
        "data": told("data"), "imbalance": told("imbalance"), "test images": len(cells[0].cell.labels),
        "network": told("network"), "epochs": f"at most {told('epochs')} a phase", "batch size": told("batch_size"),
        "ECE and NLL": "re-weighted from the class mix of the test split to that of the calibrate split" if reweighted
        else "at the class mix of the test split",
        "robustness": f"on {n_corrupted:,} test images; "
        + "; ".join(c.words for c in CORRUPTIONS.values()) + f" ({SOURCE})",
        "machine": distinct(made.record["machine"] for made in cells),
        "commit": distinct(made.record["commit"] for made in cells),
        "sources": {m.cell.method: m.manifest.training["source"] for m in cells if m.manifest.training.get("source")},
    }  # fmt: skip


def write(comparison: Comparison, out: Path) -> None:
    """compare.json, compare.md and compare.html, each replaced whole."""
    from training.compare_page import render

    document = json.dumps(as_json(comparison), indent=1, allow_nan=False) + "\n"
    for name, text in (("json", document), ("md", as_markdown(comparison)), ("html", render(comparison))):
        replace_file(out / f"compare.{name}", text.encode())


def remake(out: Path) -> Comparison:
    """Measure the cells that compare.json lists anew, from files alone, and write the report again."""
    listed = json.loads((out / "compare.json").read_text())
    cells = {place: load_cell(place) for place in (Place(out, c["method"], c["seed"]) for c in listed["cells"])}
    comparison = comparison_of(cells, listed["methods"], listed["seeds"], {})
    comparison = replace(comparison, facts={**comparison.facts, "missing": listed["facts"]["missing"]})
    write(comparison, out)
    return comparison
