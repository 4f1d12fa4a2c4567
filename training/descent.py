"""Steps down the loss: stochastic gradient descent on what a phase may change, over however many processes."""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from training.augment import Batch
from training.devices import reduced
from training.losses import ImageLoss
from training.methods import Phase
from training.networks import Network
from training.runlog import State
from training.setting import Setting


class Descent:
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
        compiled = cast(nn.Module, torch.compile(trained)) if setting.compile else trained
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

    def summed(self, losses: Tensor) -> list[float]:
        """The mean loss of each whole batch, from what this process had of each, `(steps,)`."""
        summed: list[float] = reduced(self._fabric, losses, "sum").tolist()
        return summed

    def agree(self) -> None:
        """The running statistics of all processes become those of the first, which are what is kept."""
        if self._fabric.world_size > 1:
            for buffer in self._network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def load(self, state: State, done: int) -> None:
        """Go on after `done` steps; with the loss scale of the start where there are none."""
        self._done = done
        scaler = getattr(self._fabric.strategy.precision, "scaler", None)
        if scaler is not None:
            scaler.load_state_dict(torch.amp.GradScaler(self._fabric.device.type).state_dict() or scaler.state_dict())
        if state.optimizer is not None:
            self._optimizer.load_state_dict(state.optimizer)
        if state.scaler:
            self._fabric.strategy.precision.load_state_dict(state.scaler)

    def saved(self) -> tuple[Mapping[str, Any], dict[str, Any]]:
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
