"""One phase of training: draw, augment, step; keep the weights with the lowest loss under the phase's class mix."""

import copy
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from training.augment import Augmentation
from training.dataset import Dataset
from training.methods import Phase, Sampler
from training.networks import Network
from training.splits import Splits

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: epochs at most, images a step, learning rate, patience in epochs."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    weight_decay: float = 5e-4
    momentum: float = 0.9


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
    fabric: Fabric,
    network: Network,
    phase: Phase,
    dataset: Dataset,
    splits: Splits,
    augment: Augmentation,
    schedule: Schedule,
    seed: int,
) -> list[Epoch]:
    """Train `network` in place and return the learning curve.

    The weights that remain are those of the epoch with the lowest calibrate loss; without a calibrate
    split, the last. Early stopping looks at the loss under the phase's own mix: uniform when rebalanced
    (each class counts the same), natural otherwise: a balanced loss would end phase 2 at its first epoch.
    """
    rng = np.random.default_rng([seed, 1 + sum(map(ord, phase.name))])
    images = torch.from_numpy(dataset.images)
    labels = torch.from_numpy(dataset.labels)
    sampler = Sampler(phase.sampling, dataset.labels[splits.train], rng)

    freeze(network, all_but_head=phase.trainable == "head")
    rate = schedule.learning_rate * phase.rate
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, rate, schedule.momentum, nesterov=True, weight_decay=schedule.weight_decay)
    wrapped, optimizer = fabric.setup(network, optimizer)

    curve: list[Epoch] = []
    best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), math.inf, 0
    steps = math.ceil(len(splits.train) / schedule.batch_size)
    with tqdm(total=schedule.epochs * steps, desc=phase.name, unit="step", disable=fabric.global_rank > 0) as bar:
        for epoch in range(1, schedule.epochs + 1):
            begun, total = time.monotonic(), 0.0
            set_mode(network, head_only=phase.trainable == "head")
            rows = splits.train[sampler.epoch()]
            for step in range(steps):
                batch = torch.from_numpy(rows[step * schedule.batch_size :][: schedule.batch_size])
                augmented = augment(images[batch], rng)
                share = slice(
                    fabric.global_rank, None, fabric.world_size
                )  # every rank draws alike, each takes its share
                for group in optimizer.param_groups:
                    group["lr"] = rate * _warm_cosine((epoch - 1) * steps + step, schedule.epochs * steps, steps)
                logits = wrapped(fabric.to_device(augmented[share]))
                loss = nn.functional.cross_entropy(logits, fabric.to_device(labels[batch][share]))
                optimizer.zero_grad()
                fabric.backward(loss)
                optimizer.step()
                total += loss.item() * len(batch)
                bar.update()
            calibrate_loss = _calibrate_loss(fabric, network, dataset, splits, balanced=phase.sampling != "natural")
            seconds = time.monotonic() - begun
            curve.append(Epoch(phase.name, epoch, total / len(rows), calibrate_loss, seconds))
            if calibrate_loss is None:
                continue
            bar.set_postfix(calibrate=f"{calibrate_loss:.4f}", best=f"{min(best_loss, calibrate_loss):.4f}")
            if calibrate_loss < best_loss:
                best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), calibrate_loss, epoch
            elif epoch - best_epoch >= schedule.patience:
                break
    if best_epoch:
        network.load_state_dict(best)
    return curve


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


def _warm_cosine(step: int, total: int, warm: int) -> float:
    """One epoch of linear warm-up, then half a cosine to zero."""
    return min(1.0, (step + 1) / warm) * 0.5 * (1.0 + math.cos(math.pi * step / total))
