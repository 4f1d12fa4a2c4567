"""What the kept answers of a window say that no counter can: live priors, whether they explain it, live precision."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from decision import Bundle, LabelShiftFit, NotIdentifiable, Policy, PriorsEstimate, estimate_priors, label_shift_fit
from decision.arrays import Priors, Probabilities
from decision.intervals import Intervals
from decision.label_free import live_precision
from decision.label_shift import Method, em_limits

SAMPLED = 10_000
"""Answers that an estimate looks at: more would narrow its interval by little and take long."""
MOST_BY_EM, MOST_BY_RLLS = 100, 200
METHODS: tuple[Method, ...] = ("em", "rlls")
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class LiveEstimates:
    """From n answers: priors by two methods, the label-shift test, the precision of what the policy calls; None with
    `why_not` where they are not known.
    """

    n: int
    em: PriorsEstimate | None
    rlls: PriorsEstimate | None
    fit: LabelShiftFit | None
    precision: Intervals | None
    why_not: tuple[str, ...]

    @property
    def best(self) -> PriorsEstimate | None:
        """The more efficient of the two that are known."""
        return self.em or self.rlls

    @property
    def proposed(self) -> Priors | None:
        """Priors `(K,)` to take: the best estimate's, none of them below that of half an answer."""
        if self.best is None:
            return None
        priors = np.maximum(self.best.priors, 0.5 / self.n)
        return np.asarray(priors / priors.sum())


class Estimator:
    """Makes the estimates of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def of(self, policy: Policy, probabilities: Probabilities) -> LiveEstimates:
        """From the calibrated probabilities `(n, K)` of answers; n may be 0."""
        if len(probabilities) == 0:
            return LiveEstimates(0, None, None, None, None, ("no answers are kept",))
        reasons: list[str] = []
        fit = _known(reasons, partial(label_shift_fit, probabilities=probabilities, holdout=self._bundle.known))
        em, rlls = (_known(reasons, partial(self.priors, method, probabilities)) for method in METHODS)
        best = em or rlls
        precision = None if best is None else live_precision(self._bundle, policy, best)
        return LiveEstimates(len(probabilities), em, rlls, fit, precision, tuple(dict.fromkeys(reasons)))

    def priors(self, method: Method, probabilities: Probabilities) -> PriorsEstimate:
        """From the calibrated probabilities `(n, K)` of answers, n at least 1. Raises NotIdentifiable."""
        if method == "em" and len(self._bundle.classes) > MOST_BY_EM:
            raise NotIdentifiable(f"EM is left out: it takes too long for more than {MOST_BY_EM} classes")
        if method == "em" and not self._em_holds:
            raise NotIdentifiable("EM is left out: of the held-out images it does not find the class mix they have")
        if method == "rlls" and len(self._bundle.classes) > MOST_BY_RLLS:
            method = "bbse"  # which RLLS shrinks, at the cost of many solutions
        return estimate_priors(probabilities=probabilities, method=method, holdout=self._bundle.known)

    @cached_property
    def _em_holds(self) -> bool:
        """Whether probabilities are calibrated well enough for EM, which trusts them, to find the holdout's own mix.

        Each class's share may be off by twice as much as the chance of so many answers allows for.
        """
        known = self._bundle.known
        try:
            found = estimate_priors(probabilities=known.probabilities, method="em", holdout=known).priors
        except NotIdentifiable:
            return False
        shares = np.bincount(known.labels, minlength=len(found)) / len(known.labels)
        # Their chance is in these limits twice, as that of answers and as that of the held-out images.
        low, high = (shares + np.sqrt(2) * (limit - shares) for limit in em_limits(found, known.probabilities, known))
        return bool(((low <= found) & (found <= high)).all())


def _known(reasons: list[str], find: Callable[[], Found]) -> Found | None:
    try:
        return find()
    except NotIdentifiable as reason:
        reasons.append(str(reason))
        return None
