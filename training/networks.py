"""Networks by name. Each takes uint8 images as they are and gives logits; normalisation is inside."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from decision import InputSpec
from training.errors import DataError
from training.files import Images

COSINE_SCALE = 30.0
MOST_NORMALISED_BY = 10_000


class Network(nn.Module):
    """body, then head (the output layer, which phase 2 retrains), on images normalised per channel.

    `(n, height, width, channels)` of 0 to 255 → logits `(n, classes)` float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, head: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(image))
        return logits

    def features(self, image: Tensor) -> Tensor:
        """What the output layer sees of each image."""
        features: Tensor = self.body((image.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        return features


class Cosine(nn.Module):
    """An output layer on directions alone: `COSINE_SCALE` times the cosine of features and class weights (LDAM)."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        layer.register_parameter("bias", None)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        weight = nn.functional.normalize(self.layer.weight, dim=1)
        apply = nn.functional.linear if isinstance(self.layer, nn.Linear) else nn.functional.conv2d
        return COSINE_SCALE * apply(nn.functional.normalize(x, dim=1), weight)


def output_layer(head: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer whose rows are the classes."""
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def with_cosine(head: nn.Module) -> nn.Module:
    """The head with its output layer on directions alone."""
    layer = output_layer(head)
    if head is layer:
        return Cosine(layer)
    for name, child in head.named_children():
        if child is layer:
            setattr(head, name, Cosine(layer))
    return head


@dataclass(frozen=True)
class Architecture:
    """How a network is built, the learning rate it likes, and the smallest side it takes."""

    build: Callable[[InputSpec, int], tuple[nn.Module, nn.Module]]
    learning_rate: float
    smallest_side: int


def pixels_to_normalise(images: Images, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The images, of these rows, whose mean and spread normalise the input: all, or some spread over them.

    At most 10,000, and 256 MiB.
    """
    most = max(1, min(len(rows), MOST_NORMALISED_BY, 2**28 // int(np.prod(images.shape[1:]))))
    spread = np.linspace(0, len(rows) - 1, most).astype(np.int64)
    return images[rows[spread]]


def build_network(
    name: str, spec: InputSpec, n_classes: int, train_images: NDArray[np.uint8],
    head_kind: Literal["linear", "cosine"] = "linear",
) -> Network:  # fmt: skip
    """The named network for these images; mean and std per channel are those of the train images given."""
    architecture = NETWORKS[name]
    if min(spec.height, spec.width) < architecture.smallest_side:
        raise DataError(f"{name} takes images of at least {architecture.smallest_side} pixels a side, "
                        f"got {spec.height}×{spec.width}; --size resizes, --network small takes any")  # fmt: skip
    body, head = architecture.build(spec, n_classes)
    values = np.arange(256)
    parts = np.array_split(train_images, max(1, len(train_images) // 256))  # bincount needs eight times its input
    shares = np.stack(
        [sum(np.bincount(part[..., c].ravel(), minlength=256) for part in parts) for c in range(spec.channels)]
    )
    shares = shares / shares.sum(axis=1, keepdims=True)
    average = shares @ values
    spread = np.sqrt(shares @ values**2 - average**2).clip(min=1.0)
    mean, std = (torch.tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1) for v in (average, spread))
    network = Network(body, with_cosine(head) if head_kind == "cosine" else head, mean, std)
    return network.to(memory_format=torch.channels_last)


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _small(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """Six 3×3 convolutions, 32 to 128 wide: 0.29M parameters, any input size."""
    c = spec.channels
    body = nn.Sequential(
        *_conv(c, 32), *_conv(32, 32), nn.MaxPool2d(2, ceil_mode=True),
        *_conv(32, 64), *_conv(64, 64), nn.MaxPool2d(2, ceil_mode=True),
        *_conv(64, 128), *_conv(128, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
    )  # fmt: skip
    return body, nn.Linear(128, n_classes)


def _lenet5(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """Caffe's LeNet-5, as Buda et al. (2018, table 2): 431,080 parameters at 28×28×1."""
    height, width = ((side - 4) // 2 for side in (spec.height, spec.width))
    height, width = ((side - 4) // 2 for side in (height, width))
    body = nn.Sequential(
        nn.Conv2d(spec.channels, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(50 * height * width, 500), nn.ReLU(),
    )  # fmt: skip
    return _xavier(body), _xavier(nn.Linear(500, n_classes))


def _allcnn(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """All-CNN, as Buda et al. (2018, table 3): 1,369,738 parameters at 32×32×3.

    It has no dense layer; its output layer is the last two 1×1 convolutions (section 3.3.2).
    """

    def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]

    body = nn.Sequential(
        nn.Dropout(0.2), *conv(spec.channels, 96), *conv(96, 96), *conv(96, 96, stride=2),
        nn.Dropout(0.5), *conv(96, 192), *conv(192, 192), *conv(192, 192, stride=2),
        nn.Dropout(0.5), *conv(192, 192, padding=0),
    )  # fmt: skip
    head = nn.Sequential(
        *conv(192, 192, kernel=1, padding=0), nn.Conv2d(192, n_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    return _xavier(body), _xavier(head)


def _xavier(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


class _Residual(nn.Module):
    """Two 3×3 convolutions and a parameter-free shortcut (He et al. 2016, option A: stride, then pad with zeros)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.padding = (1, 0) if inputs == outputs else (2, (outputs - inputs) // 2)
        self.convolutions = nn.Sequential(
            *_conv(inputs, outputs, self.stride),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.padding:
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        return nn.functional.relu(self.convolutions(x) + shortcut)


def _resnet32(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """ResNet-32 in CIFAR form, 16-32-64 wide: 464,154 parameters at 32×32×3."""
    widths = [16] * 5 + [32] * 5 + [64] * 5
    blocks = [_Residual(inputs, outputs) for inputs, outputs in zip([16, *widths[:-1]], widths, strict=True)]
    body = nn.Sequential(*_conv(spec.channels, 16), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return body, nn.Linear(64, n_classes)


class _AsColour(nn.Module):
    """Grey as three equal channels, for stems that take RGB; colour as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


def _resnet18(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """torchvision's ResNet-18 with its ImageNet stem, for images best from 64 pixels a side."""
    del spec  # any size, any channels
    network = torchvision.models.resnet18(num_classes=n_classes)
    head, network.fc = network.fc, nn.Identity()
    return nn.Sequential(_AsColour(), network), head


def _mobilenet_v3_small(spec: InputSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """torchvision's MobileNetV3-small with its ImageNet stem, for images best from 64 pixels a side."""
    del spec
    network = torchvision.models.mobilenet_v3_small(num_classes=n_classes)
    head, network.classifier[3] = network.classifier[3], nn.Identity()
    return nn.Sequential(_AsColour(), network), head


NETWORKS: dict[str, Architecture] = {
    "small": Architecture(_small, 0.05, 1),
    "lenet5": Architecture(_lenet5, 0.01, 16),
    "allcnn": Architecture(_allcnn, 0.01, 12),
    "resnet32": Architecture(_resnet32, 0.05, 8),
    "resnet18": Architecture(_resnet18, 0.05, 32),
    "mobilenet_v3_small": Architecture(_mobilenet_v3_small, 0.05, 32),
}
