"""Trained cells as one comparison, with what a reader must know of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from training.cells import Made, Place
from training.comparison import Comparison
from training.corruptions import CORRUPTIONS, SOURCE
from training.record import left_out


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
    """What a reader must know of these cells, none of it a path. Where they differ, each value is given once."""

    def told(name: str) -> str:
        return distinct(made.manifest.training.get(name) for made in cells)

    def found(of: Callable[[Made], str | None]) -> str:
        return distinct(map(of, cells))

    n_corrupted = max(made.n_corrupted for made in cells)
    corruptions = "; ".join(corruption.words for corruption in CORRUPTIONS.values())
    return {
        "data": told("data"),
        "left out": found(lambda made: left_out(made.manifest.training)),
        "imbalance": told("imbalance"),
        "test images": len(cells[0].cell.labels),
        "image size": found(lambda made: f"{made.manifest.input.height} × {made.manifest.input.width}"),
        "network": told("network"),
        "epochs": f"at most {told('epochs')} a phase",
        "patience": f"{told('patience')} epochs",
        "batch size": told("batch_size"),
        "learning rate": told("learning_rate"),
        "weight decay": told("weight_decay"),
        "augmentation": found(lambda made: _augmentation(made.manifest.training)),
        "precision": told("precision"),
        "ECE and NLL": "re-weighted from the class mix of the test split to that of the calibrate split, which "
        "calibrated probabilities mean",
        "robustness": f"on {n_corrupted:,} test images; {corruptions} ({SOURCE})",
        "machine": found(lambda made: made.record["machine"]),
        "commit": found(lambda made: made.record["commit"]),
        "sources": {m.cell.method: m.manifest.training["source"] for m in cells if m.manifest.training.get("source")},
    }


def distinct(values: Iterable[Any]) -> str:
    """Each value that is known, once, in the order of the cells."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


def _augmentation(training: Mapping[str, Any]) -> str:
    rare = " of rare classes" if training["augment_classes"] == "rare" and training["augment"] != "none" else ""
    return f"{training['augment']}{rare}"
