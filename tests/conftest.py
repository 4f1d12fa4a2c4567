"""A bundle whose every answer is mental arithmetic: logit k is ten times the mean of channel k, between 0 and 10."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper
from PIL import Image

from decision import Bundle, Holdout, InputSpec, Manifest, load_bundle, save_bundle

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")

CLASSES = ("red", "green", "blue")
SPEC = InputSpec(height=4, width=6, channels=3)


@pytest.fixture(autouse=True)
def _strict_arithmetic() -> Iterator[None]:
    with np.errstate(all="raise", under="ignore"):  # exp may underflow to 0: that is what it means
        yield


def channel_means() -> bytes:
    """ONNX bytes: uint8 (batch, 4, 6, 3) → logits (batch, 3)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [10 / 255]),
    ]
    graph = helper.make_graph(
        nodes, "channel_means",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SPEC.height, SPEC.width, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def manifest(**changes: Any) -> Manifest:
    by_class = dict.fromkeys(CLASSES, 10)
    document = {
        "name": "tiny",
        "classes": CLASSES,
        "input": {"height": 4, "width": 6, "channels": 3, "resize": "bilinear"},
        "counts": dict.fromkeys(("train", "calibrate", "tune", "test"), by_class),
        "training_priors": {"red": 0.7, "green": 0.2, "blue": 0.1},
        "calibration_priors": {"red": 0.6, "green": 0.3, "blue": 0.1},
        "calibration": {"temperature": 2.0, "bias": {"red": 0.5, "green": 0.0, "blue": -0.5}},
        "policy": {"rule": {"kind": "priors"}},
        "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}},
        "training": {"method": "none"},
        "seed": 0,
        "libraries": {"onnx": onnx.__version__},
    }
    return Manifest.model_validate(document | changes)


def holdout(n: int = 40) -> Holdout:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % len(CLASSES)
    logits = rng.normal(size=(n, len(CLASSES))) + 2 * np.eye(len(CLASSES))[labels]
    return Holdout(logits, labels, np.repeat(["tune", "test"], n // 2), np.arange(n))


@pytest.fixture
def write_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny bundle below a models folder and returns its own folder."""

    def write(models: Path = tmp_path / "models", **changes: Any) -> Path:
        return save_bundle(models, manifest(**changes), network=channel_means(), holdout=holdout(), report="<html>")

    return write


@pytest.fixture
def bundle(write_bundle: Callable[..., Path]) -> Bundle:
    return load_bundle(write_bundle())


def png(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Encoded bytes of uint8 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, shape: tuple[int, ...] = (4, 6, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
