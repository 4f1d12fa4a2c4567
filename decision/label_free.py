"""Precision without labels: of what a policy calls, at live priors that were estimated from its answers."""

from dataclasses import replace

import numpy as np

from decision.bundle import Bundle
from decision.holdout_sums import HoldoutSums
from decision.intervals import Array, Intervals
from decision.label_shift import PriorsEstimate
from decision.mixtures import Strata, precision
from decision.policy import Policy


def live_precision(bundle: Bundle, policy: Policy, live: PriorsEstimate) -> Intervals:
    """P(class k | called k) `(K,)` at live priors q: q_k R_k / Σ_j q_j F_jk, with 95% limits.

    Called is flagged, or labelled where the policy cannot flag the class. F_jk = P(called k | class j) and R_k = F_kk
    are the test split's: under label shift they hold whatever the priors are. The limits join the chance of the test
    images, at q (`mixtures.precision`), with that of q, at which precision rises with q_k: its limits put in, the
    other classes scaled to the rest (MOVER, Zou and Donner 2008). Laws: at priors that are certain it is the
    preview's; rises with q_k; NaN between 0 and 1 where nothing is called.
    """
    test = replace(bundle, holdout=bundle.holdout.part("test"))
    sums = HoldoutSums.of(test, policy, np.arange(len(bundle.classes)))
    (decided, _), (flagged, _) = sums.decided, sums.flagged
    calls = np.where(policy.rule.can_flag, flagged, decided)
    found = precision(Strata(live.priors, sums.n), calls, np.arange(len(sums.n)))
    least, most = (_precision_at(limit, live.priors, sums.n, calls) for limit in (live.low, live.high))
    below = np.hypot(found.value - found.low, np.maximum(found.value - least, 0.0))
    above = np.hypot(found.high - found.value, np.maximum(most - found.value, 0.0))
    known = np.isfinite(found.value)
    low, high = np.maximum(found.value - below, 0.0), np.minimum(found.value + above, 1.0)
    return Intervals(found.value, np.where(known, low, 0.0), np.where(known, high, 1.0))


def _precision_at(own: Array, priors: Array, n: Array, calls: Array) -> Array:
    """Precision `(K,)` of each class were its prior `own[k]`, and the others' in proportion."""
    right = calls.diagonal() / np.where(n > 0, n, 1.0)
    weights = priors / np.where(n > 0, n, 1.0)
    wrong = weights @ calls - priors * right
    rest = np.divide(1.0 - own, 1.0 - priors, out=np.zeros(len(own)), where=priors < 1.0)
    called = own * right + rest * wrong
    return np.divide(own * right, called, out=np.zeros(len(own)), where=called > 0)
