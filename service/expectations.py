"""What an answer adds to the expected sums because of the policy it was decided by, worked out once a policy."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from decision import Bundle, Policy
from decision.expectation import QUANTITIES, Expectation, expectation
from service.families import EXPECTED, layout
from service.rows import Rows
from service.tally import Array

MOST_REMEMBERED = 4


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
        values: list[Array | float] = []
        for row in range(len(QUANTITIES)):
            values += [found.mean[row], found.variance[row]]
        for one in (found.abstention, found.confidence):
            values += [one.mean, one.variance]
        flat = np.zeros(self._layout.size)
        for family, value in zip(EXPECTED, values, strict=True):
            self._layout.block(flat, family.name)[...] = value
        return Expected(found, flat[: self.size].copy())
