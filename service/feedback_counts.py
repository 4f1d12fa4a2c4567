"""Counts of labels that came back, in the worker's tally."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from decision.outcomes import Outcomes
from service.families import BINS, DELAYS, DESIGNS, RESULTS
from service.labels import Result
from service.rows import Rows
from service.tally import Array, Tally

EDGES = np.array([float(edge) for edge in BINS])


class TallyCounts:
    """Counts feedback for /metrics. An answer counts when its first label comes; and again, as one that an audit drew,
    where it was drawn after that.
    """

    def __init__(self, tally: Tally, rows: Rows) -> None:
        self._tally, self._rows = tally, rows

    def items(self, result: Result, n: int) -> None:
        with self._tally.lock:
            self._tally.block("equipoise_feedback_items_total")[RESULTS.index(result)] += n

    def labelled(self, outcomes: Outcomes, delays: NDArray[np.float64]) -> None:
        with self._tally.lock:
            self._count(outcomes)
            block = self._tally.block("equipoise_feedback_delay_seconds")
            for delay in delays[np.isfinite(delays)].tolist():
                block[bisect_left(DELAYS, delay)] += 1.0
                block[-1] += delay

    def drawn(self, outcomes: Outcomes) -> None:
        with self._tally.lock:
            self._count(outcomes)

    def _count(self, outcomes: Outcomes) -> None:
        """Each answer under its design; `outcomes` all have labels."""
        true, called, drawn = outcomes.true, outcomes.called, outcomes.drawn
        for design, some in zip(DESIGNS, (drawn, ~drawn), strict=True):
            chosen = some.astype(np.float64)
            self._add("labels", chosen @ true, DESIGNS.index(design))
            self._add("called", chosen @ called, DESIGNS.index(design))
            self._add("true_positives", chosen @ (true & called), DESIGNS.index(design))
        weights = outcomes.weights
        self._add("audit_weight", weights @ true)
        self._add("audit_squared_weight", weights**2 @ true)
        self._add("audit_true_positive_weight", weights @ (true & called))
        self._add("audit_true_positive_squared_weight", weights**2 @ (true & called))
        self._add("audit_targeted_weight", weights @ (true & (outcomes.targets > 0)))
        self._add("audit_target_weight", weights @ (true * outcomes.targets))
        self._add("audit_called_weight", weights @ called)
        self._add("audit_called_squared_weight", weights**2 @ called)
        bins = np.minimum(np.searchsorted(EDGES, outcomes.confidence), len(EDGES) - 1)
        hits = weights * (outcomes.top == outcomes.truth)
        for what, values in (("weight", weights), ("confidence", weights * outcomes.confidence), ("hits", hits)):
            np.add.at(self._tally.block(f"equipoise_calibration_{what}_total"), bins, values)

    def _add(self, what: str, of_classes: Array, column: int | None = None) -> None:
        block = self._tally.block(f"equipoise_feedback_{what}_total")
        rows = block if column is None else block[:, column]
        rows += self._rows.folded(of_classes)
