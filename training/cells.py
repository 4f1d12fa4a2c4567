"""One method trained with one seed, in files: what a comparison that was stopped goes on from.

out/models/<cell>/<version>/    the bundle
out/cells/<cell>.json           how it was made: configuration, data, seconds, machine, commit
out/cells/<cell>.npz            the logits of corrupted test images, which no bundle has
"""

import io
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decision import Bundle, BundleError, Manifest, load_bundle
from training.comparison import RULES, Cell
from training.config import TrainingConfig
from training.errors import DataError, ExportError
from training.lead import Lead
from training.machine import commit, hardware
from training.measure import CorruptedLogits, decided, measured, robustness

LONGEST_NAME = 80

Train = Callable[[TrainingConfig, Path], Path | None]
"""Trains as configured and writes a bundle below the folder; returns its own folder, None on all processes but one."""


@dataclass(frozen=True)
class Place:
    """Where the files of a method and seed are, below the folder of the comparison."""

    out: Path
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Of the cell's files and of its model."""
        return f"{re.sub(r'[^A-Za-z0-9._]+', '-', self.method)[:LONGEST_NAME]}-seed-{self.seed}"

    @property
    def record(self) -> Path:
        """How the cell was made; there as soon as its bundle is."""
        return self.out / "cells" / f"{self.name}.json"

    @property
    def corrupted(self) -> Path:
        """The logits of corrupted images."""
        return self.out / "cells" / f"{self.name}.npz"

    def made(self) -> dict[str, Any] | None:
        """The record, None where the cell is yet to be trained."""
        if not self.record.is_file():
            return None
        try:
            record: dict[str, Any] = json.loads(self.record.read_text())
            return record if (self.out / record["bundle"]).is_dir() else None
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{self.record}: expected the record of a cell; remove it to train again") from None

    def bundle(self) -> Bundle:
        """The bundle of a cell that was trained. DataError where it is not intact."""
        record = self.made()
        if record is None:
            raise DataError(f"{self.name}: expected a trained cell in {self.out}")
        try:
            return load_bundle(self.out / record["bundle"])
        except BundleError as error:
            raise DataError(f"{error}; remove {self.record} to train again") from None


@dataclass(frozen=True, eq=False)
class Made:
    """A cell as it was measured, with what its files say of how it was made."""

    cell: Cell
    manifest: Manifest
    record: Mapping[str, Any]
    n_corrupted: int


def train_cell(place: Place, config: TrainingConfig, fingerprint: str, train: Train, lead: Lead) -> None:
    """Train a cell on all processes, and keep its record. What fails on the first is raised on all.

    It is the first alone that exports and judges, so that the others may think that all went well.
    """
    path, fault, begun = None, None, time.monotonic()
    try:
        with redirect_stdout(None):  # the report of all cells says what a run prints
            path = train(_of_cell(config, place), place.out / "models")
    except (DataError, ExportError) as error:
        fault = error

    def keep() -> None:
        if path is None:
            raise fault or DataError(f"{place.name}: expected a bundle, got none")
        record = {
            "method": place.method,
            "seed": place.seed,
            "made_with": _made_with(config, place, fingerprint),
            "bundle": path.relative_to(place.out).as_posix(),
            "seconds": round(time.monotonic() - begun, 3),
            "machine": hardware(config.machine),
            "commit": commit(),
        }
        place.corrupted.unlink(missing_ok=True)  # of an earlier bundle
        replace_file(place.record, (json.dumps(record, indent=1) + "\n").encode())

    lead.alone(keep)


def require_same(place: Place, config: TrainingConfig, fingerprint: str) -> None:
    """DataError where there is a cell of another configuration or of other data, which names what differs."""
    if (record := place.made()) is None:
        return
    made, asked = record["made_with"], _made_with(config, place, fingerprint)
    if differing := [name for name in {**made, **asked} if made.get(name) != asked.get(name)]:
        were, are = (", ".join(f"{name}={side.get(name)}" for name in differing) for side in (made, asked))
        raise DataError(f"{place.out}: {place.name} was made with {were}, asked for is {are}; choose another --out")


def keep_corrupted(place: Place, corrupted: CorruptedLogits) -> None:
    """Write what `load_cell` reads."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"places": corrupted.places, **corrupted.logits}
    np.savez_compressed(buffer, **arrays)
    replace_file(place.corrupted, buffer.getvalue())


def load_cell(place: Place) -> Made:
    """The cell measured anew, from its files alone. DataError where one is missing or not intact."""
    bundle, corrupted = place.bundle(), _load_corrupted(place)
    record, training, test = place.made() or {}, bundle.manifest.training, bundle.holdout.part("test")
    decisions = {rule: decided(bundle, rule, test.logits) for rule in RULES}
    curve = tuple(training.get("curve", ()))
    cell = Cell(
        method=place.method, seed=place.seed, model=bundle.id,
        seconds=max(record["seconds"], sum(row["seconds"] for row in curve)),  # a resumed run was timed in part
        curve=curve, drawn={phase["name"]: phase["drawn"] for phase in training.get("phases", ())},
        labels=test.labels, probabilities=bundle.calibration.probabilities(test.logits),
        decisions={rule: d.labels for rule, d in decisions.items()},
        metrics={rule: measured(bundle, d) | robustness(bundle, rule, corrupted) for rule, d in decisions.items()},
    )  # fmt: skip
    return Made(cell, bundle.manifest, record, len(corrupted.places))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, also when the machine stops in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _of_cell(config: TrainingConfig, place: Place) -> TrainingConfig:
    """A run that was stopped resumes from its checkpoint."""
    return replace(config, seed=place.seed, name=place.name, resume=None)


def _made_with(config: TrainingConfig, place: Place, fingerprint: str) -> dict[str, Any]:
    """What makes two cells the same, as it reads back from JSON."""
    asked: dict[str, Any] = json.loads(json.dumps(_of_cell(config, place).record()))
    return asked | {"data fingerprint": fingerprint}


def _load_corrupted(place: Place) -> CorruptedLogits:
    try:
        with np.load(place.corrupted, allow_pickle=False) as arrays:
            logits = {name: arrays[name] for name in arrays.files if name != "places"}
            return CorruptedLogits(arrays["places"], logits)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{place.corrupted}: expected logits of corrupted images, got {error}") from None
