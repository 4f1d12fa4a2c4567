"""Bundles of untrained networks, whose speed is that of trained ones, and pictures to send them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from decision import Holdout, InputSpec, Manifest, save_bundle
from training.export import export_network
from training.networks import build_network

CLASSES = tuple("0123456789")


def untrained(models: Path, network: str, side: int) -> Path:
    """Write a bundle for `side`×`side` colour images, with a policy that flags two classes for a recall."""
    spec = InputSpec(height=side, width=side, channels=3, resize="bilinear")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    exported = export_network(build_network(network, spec, len(CLASSES), pixels), pixels)
    labels = np.arange(400) % len(CLASSES)
    z = rng.normal(size=(400, len(CLASSES))) + 2 * np.eye(len(CLASSES))[labels]
    share = dict.fromkeys(CLASSES, 1 / len(CLASSES))
    manifest = Manifest.model_validate({
        "name": network, "classes": CLASSES, "input": spec, "training_priors": share, "calibration_priors": share,
        "counts": {part: dict.fromkeys(CLASSES, 20) for part in ("train", "calibrate", "tune", "test")},
        "calibration": {"temperature": 1.2, "bias": dict.fromkeys(CLASSES, 0.0)},
        "policy": {"rule": {"kind": "recall", "targets": {"9": 0.8, "8": 0.7}}, "abstain_below": 0.1},
        "metrics": {}, "training": {}, "seed": 0, "libraries": {},
    })  # fmt: skip
    holdout = Holdout(z, labels, np.repeat(["tune", "test"], 200), np.arange(400))
    return save_bundle(models, manifest, network=exported, holdout=holdout, report="")


def picture(kind: str, width: int, height: int, seed: int = 0) -> bytes:
    """A smooth picture with some noise, encoded as PNG or JPEG."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(small).astype(np.int16) + rng.integers(-12, 13, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
        buffer, kind, **({"quality": 75} if kind == "JPEG" else {})
    )
    return buffer.getvalue()
