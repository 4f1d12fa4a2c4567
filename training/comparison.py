"""What a comparison of methods measured, as values: one `Cell` for each method and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULES: dict[str, str] = {
    "published": "argmax of the raw logits, as the method's paper decides",
    "argmax": "the most probable class after calibration, under the calibration priors",
    "priors": "probability divided by prior after calibration (Buda et al.'s thresholding)",
}
BASELINE = "baseline"


@dataclass(frozen=True, eq=False)
class Cell:
    """One method trained with one seed, judged on the test split.

    `metrics[rule][name]` and `decisions[rule]` `(n,)` are there for each of `RULES`; `probabilities` `(n, K)` are
    calibrated, under the calibration priors. `curve` has the rows of the learning curve: `phase`, `epoch`,
    `train_loss`, `calibrate_loss` (or null) and `seconds`. `drawn` says for each phase the class sizes of the resampled
    data that its draws stand for.
    """

    method: str
    seed: int
    model: str
    seconds: float
    curve: tuple[Mapping[str, Any], ...]
    drawn: Mapping[str, Mapping[str, float]]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    decisions: Mapping[str, NDArray[np.int64]]
    metrics: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All cells there are, in the order of `methods`, then seeds; `counts` are the images of each class in train.

    `facts` says what a reader must know of it: data, n, network, epochs, machine, commit, what is missing.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, int]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    facts: Mapping[str, Any]

    def of(self, method: str) -> tuple[Cell, ...]:
        """The cells of one method, by seed."""
        return tuple(cell for cell in self.cells if cell.method == method)
