"""Bundles of untrained networks, whose speed is that of trained ones, and pictures to send them."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from decision import Holdout, InputSpec, Manifest, save_bundle
from training.export import export_network
from training.networks import Network, build_network

CLASSES = tuple("0123456789")
TINY = "tiny"
"""Four convolutions of 0.24M parameters: so little to compute that what a server adds can be seen."""


def untrained(models: Path, network: str, side: int) -> Path:
    """Write a bundle for `side`×`side` colour images, with a policy that flags two classes for a recall.

    `network` is one that can be trained, or TINY.
    """
    spec = InputSpec(height=side, width=side, channels=3, resize="bilinear")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    built = _tiny(pixels) if network == TINY else build_network(network, spec, len(CLASSES), pixels)
    exported = export_network(built, pixels)
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


def _tiny(pixels: np.ndarray) -> Network:
    def conv(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    body = nn.Sequential(*conv(3, 32, 1), *conv(32, 64, 2), *conv(64, 128, 2), *conv(128, 128, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    mean, spread = (torch.tensor(getattr(pixels, name)(axis=(0, 1, 2)), dtype=torch.float32).reshape(1, -1, 1, 1)
                    for name in ("mean", "std"))  # fmt: skip
    return Network(body, nn.Linear(128, len(CLASSES)), mean, spread)


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
