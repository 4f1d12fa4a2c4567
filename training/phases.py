"""The training loop: phase after phase, epoch after epoch, from wherever an earlier attempt got to."""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from training.augment import Augmentation, Batch, rare_classes
from training.config import TrainingConfig
from training.dataset import Dataset
from training.devices import Devices
from training.examples import Examples, ImageExamples, Share, synthesised
from training.files import Images, batched
from training.losses import ImageLoss, given_weights
from training.methods import Method, Phase
from training.networks import Network
from training.posthoc import Evidence
from training.progress import progress
from training.runlog import Epoch, RunLog, State
from training.sampling import Rows, Sampler
from training.splits import Splits

EVALUATION_BATCH = 512
MOST_LOOKED_AT = 10_000


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: epochs at most, images a step, the network's learning rate, patience in epochs."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    momentum: float
    weight_decay: float
    seed: int

    @classmethod
    def of(cls, config: TrainingConfig) -> "Schedule":
        """The part of a configuration that bears these names."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class Setting:
    """What all phases of a run share: the devices, the images and what is known of them."""

    fabric: Fabric
    dataset: Dataset
    splits: Splits
    augment: Augmentation
    schedule: Schedule
    weights: NDArray[np.float64]
    workers: int = 0
    compile: bool = False

    @classmethod
    def of(cls, config: TrainingConfig, devices: Devices, dataset: Dataset, splits: Splits) -> "Setting":
        """The setting that a configuration, settled for its data set, means."""
        counts = np.bincount(dataset.labels[splits.train], minlength=len(dataset.classes))
        chosen = rare_classes(counts) if config.augment_classes == "rare" else None
        return cls(
            devices.fabric, dataset, splits, Augmentation(config.augment, dataset.flips, config.shift, chosen),
            Schedule.of(config), given_weights(dataset.classes, dict(config.class_weight)),
            devices.workers, devices.compile,
        )  # fmt: skip

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the train split."""
        return self.dataset.labels[self.splits.train]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images of each class in the train split, `(K,)`."""
        return np.bincount(self.labels, minlength=len(self.dataset.classes))

    @property
    def share(self) -> Share:
        """Of a batch, for this process."""
        return Share(self.fabric.global_rank, self.fabric.world_size)


def train(setting: Setting, network: Network, method: Method, log: RunLog, *, resume: bool = False) -> list[Epoch]:
    """Train `network` in place by all phases of a method and return the learning curve.

    A resumed run ends with the very weights of one that was never interrupted (on the same devices).
    """
    if not resume:
        log.restart()
    state = log.resume()
    if state.network is not None:
        network.load_state_dict(state.network)
    for number in range(state.phase, len(method.phases)):
        state = train_phase(setting, network, method.phases[number], replace(state, phase=number), log)
        state = State(phase=number + 1, network=network.state_dict(), curve=state.curve)
        log.save(state)
    return state.curve


def after_training(setting: Setting, network: Network, method: Method) -> None:
    """What the method does to the output layer, in place. It may look at calibrate images, never at tune or test."""
    if method.post is None:
        return
    rows = setting.splits.calibrate[:MOST_LOOKED_AT]
    device, labels = setting.fabric.device, torch.from_numpy(setting.dataset.labels[rows])
    features = (
        features_of(network, setting.dataset.images, rows, device, workers=setting.workers).to(device)
        if rows.size else torch.empty(0)
    )  # fmt: skip
    method.post(network, Evidence(setting.counts, features, labels.to(device)))


def train_phase(setting: Setting, network: Network, phase: Phase, state: State, log: RunLog) -> State:
    """One phase, from the epoch after `state.epoch`; the weights that remain are those of its best epoch.

    Best, and patience, go by the loss that the phase minimises, on the calibrate split with its classes weighed as the
    phase draws them: a balanced loss would end a natural phase 2 at its first epoch. Without a calibrate split, all
    epochs are trained and the last weights remain.
    """
    fabric, schedule = setting.fabric, setting.schedule
    if phase.fresh and state.epoch == 0:
        _start_anew(network.head, seed=schedule.seed)
    examples = _examples(setting, network, phase)
    origin = [schedule.seed, 1 + state.phase]
    sampler = Sampler(phase.sampling, examples.labels, schedule.batch_size, np.random.default_rng(origin))
    epochs = max(1, round(schedule.epochs * phase.length))
    mix = phase.sampling.mix(setting.counts)
    loss = phase.loss.on(setting.counts, mix, setting.weights, fabric.device)
    descent = _Descent(setting, network, phase, loss, total=epochs * sampler.steps, warm=sampler.steps)
    descent.load(state, done=state.epoch * sampler.steps)
    for _ in range(state.epoch):
        sampler.epoch()

    with progress(hidden=fabric.global_rank > 0) as bars:
        bar = bars.add_task(phase.name, total=epochs * sampler.steps, completed=state.epoch * sampler.steps, note="")
        for epoch in range(state.epoch + 1, epochs + 1):
            if state.best is not None and state.epoch - state.best_epoch >= schedule.patience:
                break
            begun = time.monotonic()
            torch.manual_seed(_mixed(*origin, epoch, fabric.global_rank))
            set_mode(network, head_only=phase.trainable == "head")
            losses = []
            for batch in examples.batches(drawn := sampler.epoch(), [*origin, epoch], setting.share, fabric.device):
                losses.append(descent.step(batch, len(drawn[len(losses)])))
                bars.advance(bar)
            steps = descent.summed(losses)
            speed = sum(map(len, drawn)) / (time.monotonic() - begun)
            judged, recalls = _calibrate(setting, network, loss, mix)
            row = Epoch(phase.name, epoch, float(np.mean(steps)), judged, time.monotonic() - begun, speed, recalls)
            state = _after(state, row, network, descent)
            log.write(state, steps, descent.rate)
            log.save(state)
            bars.update(bar, note=_note(row, state))
    if state.best is not None:
        network.load_state_dict(state.best)
    return state


def _after(state: State, row: Epoch, network: Network, descent: "_Descent") -> State:
    """The state with one more epoch."""
    optimizer, scaler = descent.saved()
    after = replace(state, epoch=row.epoch, network=network.state_dict(), optimizer=optimizer, scaler=scaler,
                    curve=[*state.curve, row])  # fmt: skip
    if row.calibrate_loss is None or row.calibrate_loss >= state.best_loss:
        return after
    return replace(after, best=copy.deepcopy(after.network), best_loss=row.calibrate_loss, best_epoch=row.epoch)


def _note(row: Epoch, state: State) -> str:
    calibrate = "" if row.calibrate_loss is None else f" calibrate {row.calibrate_loss:.4f} best {state.best_loss:.4f}"
    return f"{row.images_per_second:,.0f} images/s train {row.train_loss:.4f}{calibrate}"


def _examples(setting: Setting, network: Network, phase: Phase) -> Examples:
    dataset, rows = setting.dataset, setting.splits.train
    if not phase.smote:
        return ImageExamples(dataset.images, rows, setting.labels, setting.augment, setting.workers)
    features = features_of(network, dataset.images, rows, setting.fabric.device, workers=setting.workers)
    return synthesised(features, setting.labels, phase.sampling, setting.schedule.seed)


class _Descent:
    """SGD with Nesterov momentum on what a phase may change; one epoch of warm-up, then half a cosine to zero."""

    def __init__(
        self, setting: Setting, network: Network, phase: Phase, loss: ImageLoss, *, total: int, warm: int
    ) -> None:
        freeze(network, all_but_head=phase.trainable == "head")
        trained: nn.Module = network.head if phase.smote else network
        parameters = [p for p in trained.parameters() if p.requires_grad]
        self._peak, self._total, self._warm, self._done = setting.schedule.learning_rate * phase.rate, total, warm, 0
        self.rate = 0.0
        optimizer = torch.optim.SGD(parameters, self._peak, setting.schedule.momentum, nesterov=True,
                                    weight_decay=setting.schedule.weight_decay)  # fmt: skip
        self._fabric, self._loss = setting.fabric, loss
        compiled = torch.compile(trained) if setting.compile else trained
        self._network, self._optimizer = setting.fabric.setup(compiled, optimizer)

    def step(self, batch: Batch, size: int) -> Tensor:
        """One step on this process's share of a batch of `size` images; its part of the batch's mean loss."""
        warm = min(1.0, (self._done + 1) / self._warm)
        self.rate = self._peak * warm * 0.5 * (1.0 + math.cos(math.pi * self._done / self._total))
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        logits = self._network(batch.images)
        losses = self._loss(logits, batch.labels)
        if batch.partners is not None and batch.shares is not None:
            losses = batch.shares * losses + (1.0 - batch.shares) * self._loss(logits, batch.partners)
        loss = losses.sum() / size
        self._optimizer.zero_grad()
        self._fabric.backward(loss * self._fabric.world_size)  # whose mean over processes is the batch's gradient
        self._optimizer.step()
        self._done += 1
        return loss.detach()

    def summed(self, losses: list[Tensor]) -> list[float]:
        """The mean loss of each whole batch."""
        summed: list[float] = self._fabric.all_reduce(torch.stack(losses), reduce_op="sum").tolist()
        return summed

    def load(self, state: State, done: int) -> None:
        """Go on after `done` steps."""
        self._done = done
        if state.optimizer is not None:
            self._optimizer.load_state_dict(state.optimizer)
        if state.scaler:
            self._fabric.strategy.precision.load_state_dict(state.scaler)

    def saved(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The states of the optimizer and of mixed precision's loss scale."""
        return self._optimizer.state_dict(), self._fabric.strategy.precision.state_dict()


def freeze(network: Network, *, all_but_head: bool) -> None:
    """Say which parameters a phase may change."""
    network.requires_grad_(True)
    network.body.requires_grad_(not all_but_head)


def set_mode(network: Network, *, head_only: bool) -> None:
    """Training mode; with a frozen body, its batch-norm statistics and dropout rest as well."""
    network.train()
    network.body.train(not head_only)


def predict(
    network: Network, images: Images, rows: Rows, device: torch.device, *, workers: int = 0
) -> NDArray[np.float32]:
    """Logits `(n, classes)` of the images `rows`, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        parts = [network(pixels).float().cpu() for pixels in _pixels(images, rows, device, workers)]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def features_of(network: Network, images: Images, rows: Rows, device: torch.device, *, workers: int = 0) -> Tensor:
    """What the output layer sees of the images `rows`, `(n, …)`, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network.features(pixels).float().cpu() for pixels in _pixels(images, rows, device, workers)])


def _pixels(images: Images, rows: Rows, device: torch.device, workers: int) -> Any:
    chunks = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    return (torch.from_numpy(pixels).to(device) for pixels in batched(images, chunks, workers=workers))


def _calibrate(
    setting: Setting, network: Network, loss: ImageLoss, mix: NDArray[np.float64]
) -> tuple[float | None, tuple[float, ...]]:
    """The loss on the calibrate split, classes weighed by `mix` `(K,)`, and the recall of each class there.

    Each process looks at its share; what comes out is the same on all of them, so that they stop together.
    """
    rows = setting.splits.calibrate
    if rows.size == 0:
        return None, ()
    fabric, own = setting.fabric, rows[setting.share.of_batch]
    k = len(setting.dataset.classes)
    sums = torch.zeros(3, k, dtype=torch.double, device=fabric.device)
    if own.size:
        logits = torch.from_numpy(predict(network, setting.dataset.images, own, fabric.device, workers=setting.workers))
        labels = torch.from_numpy(setting.dataset.labels[own])
        losses = loss(logits.to(fabric.device), labels.to(fabric.device)).double().cpu()
        right = (logits.argmax(dim=1) == labels).double()
        columns = [torch.bincount(labels, v, minlength=k) for v in (torch.ones_like(right), losses, right)]
        sums = torch.stack(columns).to(fabric.device)
    n, losses_of, hits = fabric.all_reduce(sums, reduce_op="sum").cpu().numpy()
    there = n > 0
    means = losses_of[there] / n[there]
    return float(means @ mix[there] / mix[there].sum()), tuple((hits[there] / n[there]).tolist())


def _start_anew(head: nn.Module, seed: int) -> None:
    torch.manual_seed(_mixed(seed, 0))
    for layer in head.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def _mixed(*numbers: int) -> int:
    """One seed of several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
