"""One phase of training: draw, augment, step; keep the weights with the lowest loss under the phase's class mix."""

import copy
import math
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.augment import Augmentation
from training.dataset import Dataset
from training.methods import Phase, Sampler
from training.networks import Network
from training.splits import Splits

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: epochs at most, images a step, phase 1's learning rate, patience in epochs."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    momentum: float
    weight_decay: float
    seed: int

    @classmethod
    def of(cls, config: Any) -> "Schedule":
        """The part of a configuration that bears these names."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve. Losses are mean NLL in nats, `calibrate` under the phase's class mix."""

    phase: str
    epoch: int
    train_loss: float
    calibrate_loss: float | None
    seconds: float

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


def train_phase(
    fabric: Fabric, network: Network, phase: Phase, dataset: Dataset, splits: Splits, augment: Augmentation,
    schedule: Schedule,
) -> list[Epoch]:  # fmt: skip
    """Train `network` in place and return the learning curve.

    The weights that remain are those of the epoch with the lowest calibrate loss; without a calibrate
    split, the last. Early stopping looks at the loss under the phase's own mix: uniform when rebalanced
    (each class counts the same), natural otherwise: a balanced loss would end phase 2 at its first epoch.
    """
    rng = np.random.default_rng([schedule.seed, 1 + sum(map(ord, phase.name))])
    sampler = Sampler(phase.sampling, dataset.labels[splits.train], rng)
    balanced = phase.sampling != "natural"
    steps = math.ceil(len(splits.train) / schedule.batch_size)
    descent = _Descent(fabric, network, phase, schedule, total=schedule.epochs * steps, warm=steps)

    curve: list[Epoch] = []
    best, best_loss, best_epoch = network.state_dict(), math.inf, 0
    with tqdm(total=schedule.epochs * steps, desc=phase.name, unit="step", disable=fabric.global_rank > 0) as bar:
        for epoch in range(1, schedule.epochs + 1):
            begun = time.monotonic()
            set_mode(network, head_only=phase.trainable == "head")
            losses = []
            for rows in np.array_split(splits.train[sampler.epoch()], steps):  # no batch of a lone image
                images = augment(torch.from_numpy(dataset.images[rows]), rng)
                losses.append(descent.step(images, torch.from_numpy(dataset.labels[rows])))
                bar.update()
            loss = _calibrate_loss(fabric, network, dataset, splits, balanced=balanced)
            curve.append(Epoch(phase.name, epoch, float(np.mean(losses)), loss, time.monotonic() - begun))
            if loss is None:
                continue
            if loss < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), loss, epoch
            bar.set_postfix(calibrate=f"{loss:.4f}", best=f"{best_loss:.4f}")
            if epoch - best_epoch >= schedule.patience:
                break
    if best_epoch:
        network.load_state_dict(best)
    return curve


class _Descent:
    """SGD with Nesterov momentum on what a phase may change; one epoch of warm-up, then half a cosine to zero."""

    def __init__(
        self, fabric: Fabric, network: Network, phase: Phase, schedule: Schedule, *, total: int, warm: int
    ) -> None:
        freeze(network, all_but_head=phase.trainable == "head")
        parameters = [p for p in network.parameters() if p.requires_grad]
        self._rate, self._total, self._warm, self._done = schedule.learning_rate * phase.rate, total, warm, 0
        optimizer = torch.optim.SGD(parameters, self._rate, schedule.momentum, nesterov=True,
                                    weight_decay=schedule.weight_decay)  # fmt: skip
        self._fabric = fabric
        self._network, self._optimizer = fabric.setup(network, optimizer)
        # Every rank draws the same batches and takes its share of each.
        self._share = slice(fabric.global_rank, None, fabric.world_size)

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step on a batch; its loss in nats."""
        warm = min(1.0, (self._done + 1) / self._warm)
        cosine = 0.5 * (1.0 + math.cos(math.pi * self._done / self._total))
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * warm * cosine
        logits = self._network(self._fabric.to_device(images[self._share]))
        loss = nn.functional.cross_entropy(logits, self._fabric.to_device(labels[self._share]))
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        self._optimizer.step()
        self._done += 1
        return float(loss.item())


def freeze(network: Network, *, all_but_head: bool) -> None:
    """Say which parameters a phase may change."""
    network.requires_grad_(True)
    network.body.requires_grad_(not all_but_head)


def set_mode(network: Network, *, head_only: bool) -> None:
    """Training mode; with a frozen body, its batch-norm statistics and dropout rest as well."""
    network.train()
    network.body.train(not head_only)


def predict(network: Network, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """Logits `(n, classes)` of images, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        batches = [network(part.to(device)).float().cpu() for part in torch.from_numpy(images).split(EVALUATION_BATCH)]
    logits: NDArray[np.float32] = torch.cat(batches).numpy()
    return logits


def _calibrate_loss(
    fabric: Fabric, network: Network, dataset: Dataset, splits: Splits, *, balanced: bool
) -> float | None:
    if splits.calibrate.size == 0:
        return None
    logits = torch.from_numpy(predict(network, dataset.images[splits.calibrate], fabric.device))
    labels = torch.from_numpy(dataset.labels[splits.calibrate])
    counts = torch.bincount(labels, minlength=len(dataset.classes)).double()
    weights = 1.0 / counts[labels] if balanced else torch.ones(len(labels), dtype=torch.double)
    losses = nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    return float((losses * weights).sum() / weights.sum())
