"""On what terms an answer was given: what its revision says of deployment priors, flags and targets."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision import Bundle, PolicyError, parse_policy
from decision.arrays import Flags
from decision.policy import RecallRule, deployment_priors, flaggable
from service.store import PolicyStore

MOST_REMEMBERED = 256


@dataclass(frozen=True, eq=False)
class Terms:
    """Of one revision, `(K,)` each: what moves calibrated probabilities to its deployment priors, what it could flag,
    and the recall that it promised, 0 where none.
    """

    ratio: NDArray[np.float64]
    can_flag: Flags
    targets: NDArray[np.float64]


class PastTerms:
    """Of any revision of a model's policy, read from history once: thresholds and priors are not compiled again."""

    def __init__(self, bundle: Bundle, store: PolicyStore) -> None:
        self._bundle, self._store = bundle, store
        self._known: OrderedDict[int, Terms] = OrderedDict()

    def of(self, revision: int) -> Terms:
        """Its terms; those of no policy at all where history has lost it. Raises StoreError."""
        if (found := self._known.get(revision)) is None:
            found = self._known[revision] = self._read(revision)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _read(self, revision: int) -> Terms:
        classes, entry = self._bundle.classes, self._store.get(revision)
        none = np.zeros(len(classes))
        if entry is None:
            return Terms(none + 1, none > 0, none)
        document, calibration_priors = parse_policy(entry.policy), self._bundle.calibration_priors
        try:  # another bundle version may have stored it: it means the same here as long as the classes do
            ratio = deployment_priors(document, classes, calibration_priors) / calibration_priors
            can_flag = flaggable(document, classes)
        except PolicyError:
            return Terms(none + 1, none > 0, none)
        targets = document.rule.targets if isinstance(document.rule, RecallRule) else {}
        return Terms(ratio, can_flag, np.array([targets.get(name, 0.0) for name in classes]))
