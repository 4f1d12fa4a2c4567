"""What an answer adds to the expected sums because of the policy it was decided by, worked out once a policy."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from decision import Bundle, Policy
from decision.expectation import Expectation, expectation
from service.families import EXPECTED, layout
from service.rows import Rows
from service.tally import Array

MOST_REMEMBERED = 4
MOST_AT_ONCE = 1_000_000  # held-out logits, decided in some hundredths of a second
MEAN_AND_VARIANCE = {
    "raw": ("equipoise_expected_raw_predictions_total", "equipoise_expected_raw_prediction_variance_total"),
    "decision": ("equipoise_expected_decisions_total", "equipoise_expected_decision_variance_total"),
    "flag": ("equipoise_expected_flags_total", "equipoise_expected_flag_variance_total"),
    "mass": ("equipoise_expected_posterior_mass_total", "equipoise_expected_posterior_mass_variance_total"),
    "abstention": ("equipoise_expected_abstentions_total", "equipoise_expected_abstention_variance_total"),
    "confidence": ("equipoise_expected_confidence_total", "equipoise_expected_confidence_variance_total"),
}
"""The families of EXPECTED by quantity."""


@dataclass(frozen=True, eq=False)
class Expected:
    """An expectation, and the same as `block` `(E,)`: what one answer adds to the families of EXPECTED, in a tally's
    order.
    """

    found: Expectation
    block: Array


class Expectations:
    """Those of the policies in use: of the one in force, and for a moment of the one before."""

    def __init__(self, bundle: Bundle, rows: Rows) -> None:
        self._bundle, self._rows, self._layout = bundle, rows, layout(len(rows.names))
        self.size = self._layout.end(EXPECTED[-1].name)
        self._known: OrderedDict[int, tuple[Policy, Expected]] = OrderedDict()
        self._working = threading.Lock()
        self._quick = bundle.holdout.logits.size <= MOST_AT_ONCE

    def at_once(self, policy: Policy) -> Expected | None:
        """`of`, where that takes no longer than an answer may; else None, unless it is known."""
        known = self._known.get(id(policy))
        return known[1] if known else self.of(policy) if self._quick else None

    def of(self, policy: Policy) -> Expected:
        """What the holdout implies at the policy's deployment priors."""
        known = self._known.get(id(policy))
        if known is None:
            with self._working:
                known = self._known.get(id(policy)) or (policy, self._made(policy))
                self._known[id(policy)] = known  # which keeps the policy, and so its id
                if len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)
        return known[1]

    def _made(self, policy: Policy) -> Expected:
        found = expectation(self._bundle, policy, None if self._rows.one_each else self._rows.of_class)
        flat = np.zeros(self._layout.size)
        for quantity, (mean, variance) in MEAN_AND_VARIANCE.items():
            one = found.of(quantity)
            self._layout.block(flat, mean)[...] = one.mean
            self._layout.block(flat, variance)[...] = one.variance
        return Expected(found, flat[: self.size].copy())
