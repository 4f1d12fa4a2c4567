"""What the kept answers of a window say that no counter can: live priors, whether they explain it, live precision."""

from dataclasses import dataclass

import numpy as np

from decision import Bundle, LabelShiftFit, NotIdentifiable, Policy, PriorsEstimate, estimate_priors, label_shift_fit
from decision.arrays import Priors, Probabilities
from decision.intervals import Intervals
from decision.label_free import live_precision
from decision.label_shift import Method

SAMPLED = 10_000
"""Answers that an estimate looks at: more would narrow its interval by little and take long."""
RESAMPLES = 100


@dataclass(frozen=True, eq=False)
class Estimates:
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
    def proposed(self) -> Priors | None:
        """Priors `(K,)` to take: EM's, none of them below that of half an answer."""
        best = self.em or self.rlls
        if best is None:
            return None
        priors = np.maximum(best.priors, 0.5 / self.n)
        return np.asarray(priors / priors.sum())


def estimates(bundle: Bundle, policy: Policy, probabilities: Probabilities) -> Estimates:
    """From the calibrated probabilities `(n, K)` of answers; n may be 0."""
    reasons: list[str] = []
    if len(probabilities) == 0:
        return Estimates(0, None, None, None, None, ("no answers are kept",))

    def priors(method: Method) -> PriorsEstimate | None:
        try:
            return estimate_priors(
                probabilities=probabilities, method=method, holdout=bundle.known, resamples=RESAMPLES
            )
        except NotIdentifiable as reason:
            reasons.append(str(reason))
            return None

    fit: LabelShiftFit | None = None
    try:
        fit = label_shift_fit(probabilities=probabilities, holdout=bundle.known)
    except NotIdentifiable as reason:
        reasons.append(str(reason))
    em, rlls = priors("em"), priors("rlls")
    best = em or rlls
    precision = None if best is None else live_precision(bundle, policy, best)
    return Estimates(len(probabilities), em, rlls, fit, precision, tuple(dict.fromkeys(reasons)))
