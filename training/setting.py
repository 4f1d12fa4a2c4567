"""What all phases of a run share: the devices, the images and what is known of them, how long and how fast."""

from dataclasses import dataclass, fields

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from training.augment import Augmentation, rare_classes
from training.config import TrainingConfig
from training.dataset import Dataset
from training.devices import Devices
from training.errors import DataError
from training.examples import Share
from training.loading import workers_of
from training.losses import given_weights
from training.splits import Splits


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
        """The setting that a configuration, settled for its data set, means. DataError where a batch has no room."""
        if config.batch_size < devices.fabric.world_size:
            raise DataError(f"expected a --batch-size of at least the {devices.fabric.world_size} processes that share "
                            f"a batch, got {config.batch_size}")  # fmt: skip
        counts = dataset.counts(splits.train)
        chosen = rare_classes(counts) if config.augment_classes == "rare" else None
        return cls(
            devices.fabric, dataset, splits, Augmentation(config.augment, dataset.flips, config.shift, chosen),
            Schedule.of(config), given_weights(dataset.classes, dict(config.class_weight)),
            workers_of(config), devices.compile,
        )  # fmt: skip

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the train split."""
        return self.dataset.labels[self.splits.train]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images of each class in the train split, `(K,)`."""
        return self.dataset.counts(self.splits.train)

    @property
    def share(self) -> Share:
        """Of a batch, for this process."""
        return Share(self.fabric.global_rank, self.fabric.world_size)
