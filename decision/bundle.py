"""The bundle: one exported model with all that its answers need. The only file of decision/ that touches disk.

models/<name>/<version>/{network.onnx, bundle.json, holdout.npz, report.html}    models/<name>/latest
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from decision.arrays import Priors, frozen
from decision.calibration import Calibration
from decision.errors import BundleError, PolicyError
from decision.holdout import Holdout
from decision.images import InputSpec
from decision.intervals import Interval
from decision.label_shift import Known
from decision.policy import Policy, PolicyDocument, compile_policy, parse_policy
from decision.priors import priors_from_mapping

FORMAT: Final = 1
INPUT_NAME, OUTPUT_NAME = "image", "logits"
MANIFEST, NETWORK, HOLDOUT, REPORT = "bundle.json", "network.onnx", "holdout.npz", "report.html"
LATEST = "latest"
WORKSHOP, ABANDONED = ".new-", 86_400  # seconds

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationRecord(_Part):
    """Temperature and the bias per class."""

    temperature: float
    bias: dict[str, float]


class Manifest(_Part):
    """bundle.json: everything but the arrays, readable and diffable."""

    format: Literal[1] = FORMAT
    name: Name
    version: Name = "unsaved"
    classes: tuple[str, ...] = Field(min_length=2)
    input: InputSpec
    counts: dict[Literal["train", "calibrate", "tune", "test"], dict[str, int]]
    training_priors: dict[str, float]
    calibration_priors: dict[str, float]
    calibration: CalibrationRecord
    policy: PolicyDocument
    metrics: dict[str, Interval]
    training: dict[str, Any]
    seed: Annotated[int, Field(ge=0)]
    libraries: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"expected distinct classes, got {list(self.classes)}")
        for where, named in [("calibration.bias", self.calibration.bias), ("training_priors", self.training_priors)]:
            if set(named) != set(self.classes):
                raise ValueError(f"{where} names {sorted(named)}, classes are {sorted(self.classes)}")
        return self

    def sealed(self, files: Mapping[str, bytes]) -> Self:
        """The same manifest with the files' hashes, and a version made of the time (UTC) and a hash of all that."""
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        sealed = self.model_copy(update={"files": hashes})
        content = hashlib.sha256(sealed.model_dump_json().encode()).hexdigest()
        return sealed.model_copy(update={"version": f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{content[:6]}"})


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle: immutable, verified against its hashes."""

    path: Path
    manifest: Manifest
    holdout: Holdout

    @property
    def id(self) -> str:
        """`name:version`."""
        return f"{self.manifest.name}:{self.manifest.version}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the network's outputs."""
        return self.manifest.classes

    @property
    def input(self) -> InputSpec:
        """What the network takes."""
        return self.manifest.input

    @property
    def network(self) -> Path:
        """The ONNX file: `image` uint8 `(batch, height, width, channels)` → `logits` float32 `(batch, K)`."""
        return self.path / NETWORK

    @cached_property
    def calibration(self) -> Calibration:
        """From this network's logits to probabilities under `calibration_priors`."""
        record = self.manifest.calibration
        return Calibration(record.temperature, np.array([record.bias[name] for name in self.classes]))

    @cached_property
    def calibration_priors(self) -> Priors:
        """`(K,)`: the mean calibrated probability over the calibrate split."""
        return frozen(priors_from_mapping(self.manifest.calibration_priors, self.classes))

    @cached_property
    def known(self) -> Known:
        """The holdout's calibrated probabilities and labels: what estimates of live priors compare with."""
        known = self.calibration.probabilities(self.holdout.logits)
        return Known(known, self.holdout.labels, self.calibration_priors, self.holdout.groups)

    def policy(self, document: PolicyDocument | Mapping[str, Any] | None = None) -> Policy:
        """Compile a policy document (the bundle's default without one). Raises PolicyError."""
        parsed = self.manifest.policy if document is None else parse_policy(document)
        return compile_policy(
            parsed, self.classes, self.calibration, self.calibration_priors, self.holdout, seed=self.manifest.seed
        )


def load_bundle(path: str | Path) -> Bundle:
    """Load `models/<name>/<version>`, or the version that `models/<name>/latest` names.

    Verifies format, schema, hashes and arrays; raises BundleError that names the offending file.
    """
    folder = _resolve(Path(path))
    manifest = _manifest(folder)
    for name, expected in manifest.files.items():
        came = hashlib.sha256(_read(folder, name)).hexdigest()
        if came != expected:
            raise BundleError(f"{folder / name}: expected sha256 {expected}, got {came}; the file was changed")
    bundle = Bundle(folder, manifest, _holdout(folder, len(manifest.classes)))
    try:
        bundle.policy()
    except (PolicyError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST}: {error}") from error
    return bundle


def save_bundle(models: str | Path, manifest: Manifest, *, network: bytes, holdout: Holdout, report: str) -> Path:
    """Write `models/<name>/<version>` whole or not at all, point `latest` at it, and return its folder.

    The files go to a temporary folder beside it, are flushed to disk, and appear by one rename.
    """
    files = {NETWORK: network, HOLDOUT: _packed(holdout), REPORT: report.encode()}
    manifest = manifest.sealed(files)
    files[MANIFEST] = (manifest.model_dump_json(indent=2) + "\n").encode()

    home = Path(models) / manifest.name
    home.mkdir(parents=True, exist_ok=True)
    _sweep(home)
    workshop = Path(tempfile.mkdtemp(prefix=WORKSHOP, dir=home))
    try:
        workshop.chmod(0o755)
        for name, content in files.items():
            _write_durably(workshop / name, content)
        _flush(workshop)
        os.rename(workshop, home / manifest.version)
    except BaseException:
        shutil.rmtree(workshop, ignore_errors=True)
        raise
    _write_durably(home / f".{LATEST}", manifest.version.encode() + b"\n")
    _flush(home)
    os.replace(home / f".{LATEST}", home / LATEST)
    _flush(home)
    return home / manifest.version


def _resolve(path: Path) -> Path:
    pointer = path / LATEST
    if (path / MANIFEST).is_file() or not pointer.is_file():
        return path
    version = pointer.read_text().strip()
    if not version or Path(version).name != version:
        raise BundleError(f"{pointer}: expected the name of a version, got {version!r}")
    return path / version


def _manifest(folder: Path) -> Manifest:
    try:
        document = json.loads(_read(folder, MANIFEST))
    except ValueError as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{folder / MANIFEST}: expected JSON, got {error}") from None
    came = document.get("format") if isinstance(document, dict) else None
    if came != FORMAT:
        raise BundleError(
            f"{folder / MANIFEST}: expected format {FORMAT}, got {came!r}; a newer format needs a newer Equipoise"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise BundleError(f"{folder / MANIFEST}: {where}: {first['msg']}") from None
    missing = {NETWORK, HOLDOUT, REPORT} - set(manifest.files)
    foreign = set(manifest.files) - {NETWORK, HOLDOUT, REPORT}
    if missing or foreign:
        raise BundleError(
            f"{folder / MANIFEST}: files: expected hashes of {NETWORK}, {HOLDOUT} and {REPORT}, "
            f"got {sorted(manifest.files)}"
        )
    return manifest


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder / name}: expected a readable file of a bundle, got {error.strerror}") from None


def _holdout(folder: Path, n_classes: int) -> Holdout:
    try:
        with np.load(folder / HOLDOUT, allow_pickle=False) as arrays:
            holdout = Holdout(
                arrays["logits"].astype(np.float64),
                arrays["labels"].astype(np.int64),
                arrays["split"],
                arrays["groups"].astype(np.int64),
            )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"{folder / HOLDOUT}: expected logits, labels, split and groups, got {error}") from None
    n = len(holdout.labels)
    if holdout.logits.shape != (n, n_classes) or holdout.split.shape != (n,) or holdout.groups.shape != (n,):
        raise BundleError(
            f"{folder / HOLDOUT}: expected logits (n, {n_classes}) and three arrays (n,), "
            f"got {holdout.logits.shape}, {holdout.labels.shape}, {holdout.split.shape}"
        )
    return holdout


def _packed(holdout: Holdout) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        logits=holdout.logits.astype(np.float32),
        labels=holdout.labels.astype(np.int32),
        split=holdout.split.astype("<U4"),
        groups=holdout.groups.astype(np.int64),
    )
    return buffer.getvalue()


def _sweep(home: Path) -> None:
    """Remove what a process that was killed while it saved has left: a workshop that nobody has touched for a day."""
    for workshop in home.glob(f"{WORKSHOP}*"):
        with suppress(OSError):  # another process sweeps as well
            if time.time() - workshop.stat().st_mtime > ABANDONED:
                shutil.rmtree(workshop)


def _flush(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
