"""On what terms an answer was given: what its revision says of deployment priors, flags and targets."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision import Bundle, parse_policy
from decision.arrays import Flags
from decision.policy import deployment_priors, flaggable
from service.store import PolicyStore

MOST_REMEMBERED = 256


@dataclass(frozen=True, eq=False)
class Terms:
    """Of one revision: what moves calibrated probabilities to its deployment priors, and what it could flag `(K,)`."""

    ratio: NDArray[np.float64]
    can_flag: Flags


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
        if entry is None or entry.model_version != self._bundle.manifest.version:
            return Terms(np.ones(len(classes)), np.zeros(len(classes), np.bool_))
        document, calibration_priors = parse_policy(entry.policy), self._bundle.calibration_priors
        ratio = deployment_priors(document, classes, calibration_priors) / calibration_priors
        return Terms(ratio, flaggable(document, classes))
