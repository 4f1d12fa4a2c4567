"""What a run leaves behind while it goes on: a checkpoint to resume from, and curves for TensorBoard."""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import torch
from torch.utils.tensorboard import SummaryWriter

from training.errors import DataError
from training.locks import hold

CHECKPOINT = "checkpoint.pt"
KEPT = "checkpoint.pt.old"
LOCK = "lock"


@dataclass(frozen=True)
class Epoch:
    """One row of the learning curve. Losses are those that the phase minimises, in nats a drawn image.

    `calibrate_loss` weighs the classes as the phase draws them; recalls are of the argmax of the raw logits.
    `seconds` are all of the epoch, `images_per_second` of its training alone.
    """

    phase: str
    epoch: int
    train_loss: float
    calibrate_loss: float | None
    seconds: float
    images_per_second: float = 0.0
    calibrate_recalls: tuple[float, ...] = ()

    def row(self) -> dict[str, Any]:
        """As JSON."""
        balanced = sum(self.calibrate_recalls) / len(self.calibrate_recalls) if self.calibrate_recalls else None
        kept = {name: value for name, value in asdict(self).items() if name != "calibrate_recalls"}
        return kept | {
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 1),
            "calibrate_balanced_accuracy": balanced,
        }


@dataclass
class State:
    """Where a run stands after an epoch: all that an uninterrupted one would go on with.

    Draws are no part of it: samplers replay the epochs they have seen, everything else is drawn from (seed, phase,
    epoch).
    """

    phase: int = 0
    epoch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    best: Mapping[str, Any] | None = None
    network: Mapping[str, Any] | None = None
    optimizer: Mapping[str, Any] | None = None
    scaler: dict[str, Any] | None = None
    curve: list[Epoch] = field(default_factory=list)

    def __str__(self) -> str:
        return f"epoch {self.curve[-1].epoch} of phase {self.curve[-1].phase}" if self.curve else "no epoch"


class RunLog:
    """The folder of one run: `checkpoint.pt`, written after each epoch, and TensorBoard's event files.

    Without a folder, or on any process but the first, nothing is written or read. Within `with`, no other run has the
    folder: the lock is one that goes with its process, and that processes forked from it do not hold. DataError where
    another run has it.
    """

    def __init__(self, folder: Path | None, classes: Sequence[str], *, writes: bool = True) -> None:
        self._folder = folder if writes else None
        self._classes, self.state = classes, State()
        self._events: SummaryWriter | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            refusal = f"{self._folder}: another process is training this very run"
            self._lock = hold(self._folder / LOCK, refusal)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt) and self.state.curve:
            error.args = (f"--resume goes on after {self.state}",)
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.close()

    def resume(self) -> State:
        """The state after the last whole epoch, or that of a run yet to begin. DataError for an unreadable file."""
        if self._folder is None or not (path := self._folder / CHECKPOINT).is_file():
            return State()
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            return State(**saved | {"curve": [Epoch(**row) for row in saved["curve"]]})
        except (OSError, RuntimeError, TypeError, KeyError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise DataError(f"{path}: expected a checkpoint of this version, got {error}; without --resume, "
                            "training starts anew") from None  # fmt: skip

    def restart(self) -> Path | None:
        """Forget an earlier attempt, but for its checkpoint, which is kept until this one is finished: its path.

        Of several attempts, that of the first: it may have got furthest, and those after it were begun in vain.
        """
        if self._folder is None or not self._folder.is_dir():
            return None
        checkpoint, kept = self._folder / CHECKPOINT, self._folder / KEPT
        if checkpoint.is_file() and not kept.is_file():
            checkpoint.replace(kept)
        for path in self._folder.iterdir():
            if path.is_file() and path.name not in (LOCK, KEPT):
                path.unlink()
        return kept if kept.is_file() else None

    def save(self, state: State) -> None:
        """Keep the state, whole or not at all, also when the machine stops in the middle."""
        self.state = state
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{CHECKPOINT}.new"
        with temporary.open("wb") as file:
            torch.save(vars(state) | {"curve": [asdict(epoch) for epoch in state.curve]}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / CHECKPOINT)

    def write(self, state: State, losses: Sequence[float], rate: float) -> None:
        """The last epoch's curves: `losses` are those of its steps, `rate` its last learning rate."""
        if self._folder is None:
            return
        events = self._events = self._events or SummaryWriter(str(self._folder))
        epoch, number = state.curve[-1], len(state.curve)
        for i, loss in enumerate(losses):
            events.add_scalar(f"{epoch.phase}/step_loss", loss, (epoch.epoch - 1) * len(losses) + i)
        events.add_scalar("loss/train", epoch.train_loss, number)
        events.add_scalar("learning_rate", rate, number)
        events.add_scalar("images_per_second", epoch.images_per_second, number)
        if epoch.calibrate_loss is not None:
            events.add_scalar("loss/calibrate", epoch.calibrate_loss, number)
        for name, recall in zip(self._classes, epoch.calibrate_recalls, strict=False):
            events.add_scalar(f"calibrate_recall/{name}", recall, number)
        events.flush()

    def finish(self) -> None:
        """A finished run needs its checkpoint no more."""
        if self._folder is not None:
            for name in (CHECKPOINT, KEPT):
                (self._folder / name).unlink(missing_ok=True)
