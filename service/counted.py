"""What was counted in a window beside what was to be expected, and how far apart they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from decision.drift import js_divergence, psi, psi_score, score
from decision.expectation import Expectation
from service.expectations import MEAN_AND_VARIANCE
from service.snapshots import Increase
from service.tally import Array, Layout

Overall = Literal["abstention", "confidence"]
OBSERVED = {"raw": "equipoise_raw_predictions_total", "decision": "equipoise_decisions_total",
            "flag": "equipoise_flags_total", "mass": "equipoise_posterior_mass_total",
            "abstention": "equipoise_abstentions_total"}  # fmt: skip


@dataclass(frozen=True)
class Shift:
    """Sums over n answers, observed and expected, by a reference that stands for `images`; z is 0 of no answers."""

    observed: float
    expected: float
    z: float
    n: float
    images: float


@dataclass(frozen=True)
class Whole:
    """Figures of the raw predictions of all classes together; `decision.drift` says what they are."""

    psi: float
    psi_z: float
    js_divergence: float


class Counted:
    """Sums of all hosts in a window; the reference's sizes are those of the policy in force at its end."""

    def __init__(self, layout: Layout, increase: Increase, found: Expectation) -> None:
        self._layout, self._found, self.increase = layout, found, increase
        self.n = float(self._sums("equipoise_raw_predictions_total").sum())

    def classes(self, quantity: str) -> list[Shift]:
        """Each row's raw predictions, decisions, flags or mass: one of `expectation.QUANTITIES`."""
        images = self._found.of(quantity).images
        observed, mean, variance = map(self._sums, (OBSERVED[quantity], *MEAN_AND_VARIANCE[quantity]))
        columns = (column.tolist() for column in (observed, mean, variance, images))
        return [self._shift(*one) for one in zip(*columns, strict=True)]

    def overall(self, quantity: Overall) -> Shift:
        """Abstentions, or confidence."""
        found = self._found.of(quantity)
        observed = (
            self._sums("equipoise_confidence")[-1] if quantity == "confidence" else self._sums(OBSERVED[quantity])
        )
        mean, variance = (float(self._sums(name)) for name in MEAN_AND_VARIANCE[quantity])
        return self._shift(float(observed), mean, variance, float(found.images))

    def whole(self) -> Whole | None:
        """None of no answers, or of one class."""
        raw, expected = self._sums(OBSERVED["raw"]), self._sums(MEAN_AND_VARIANCE["raw"][0])
        if not self.n or len(raw) < 2:
            return None
        value = psi(raw, expected)
        z = psi_score(value, expected / self.n, self.n, self._found.of("raw").images)
        return Whole(value, z, js_divergence(raw, expected))

    def _sums(self, name: str) -> Array:
        return np.asarray(self._layout.block(self.increase.sums, name))

    def _shift(self, observed: float, mean: float, variance: float, images: float) -> Shift:
        z = float(score(observed, mean, variance, self.n, images)) if self.n else 0.0
        return Shift(observed, mean, z, self.n, images)
