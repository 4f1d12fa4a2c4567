"""Verdict: what the drift of one class means, in words for the person who has to act on it."""

from dataclasses import dataclass
from typing import Literal

from decision.drift import LEAST_ANSWERS, SMALL
from decision.intervals import Interval

State = Literal["not enough answers", "within chance", "beyond chance but small", "beyond chance"]

LABEL_SHIFT_LEVEL = 0.01  # p-values of `label_shift_fit` below it: priors are not all that changed


@dataclass(frozen=True)
class Verdict:
    """Whether a class has drifted, and in words why, with what it rests on. Only "beyond chance" asks for an action."""

    state: State
    words: str


def verdict(
    name: str, *, observed: float, expected: float, z: float, n: float, threshold: float,
    p_value: float | None, estimate: Interval | None, configured: float,
) -> Verdict:  # fmt: skip
    """Of the class `name`: sums `observed` and `expected` over n answers, and their `drift.score` z.

    `p_value` is that of `label_shift_fit`, `estimate` the class's estimated live prior, `configured` the deployment
    prior; None where they are not known. A shift is told of from 200 answers on, where |z| > threshold and the ratio
    of observed to expected is outside 0.8 to 1.25.
    """
    state = _state(observed, expected, z, n, threshold)
    if state == "not enough answers":
        return Verdict(state, f"share of *{name}*: {state}, n = {n:,.0f} of at least {LEAST_ANSWERS}")
    words = f"share of *{name}* {_times(observed, expected, n)}, n = {n:,.0f}, {state}"
    if state == "beyond chance":
        words += f"; {_cause(p_value)}; {_priors(estimate, configured)}"
    return Verdict(state, words)


def _state(observed: float, expected: float, z: float, n: float, threshold: float) -> State:
    if n < LEAST_ANSWERS:
        return "not enough answers"
    if not abs(z) > threshold:
        return "within chance"
    if SMALL[0] * expected <= observed <= SMALL[1] * expected:
        return "beyond chance but small"
    return "beyond chance"


def _times(observed: float, expected: float, n: float) -> str:
    if not expected > 0:
        return f"{observed / n:.2g}, where its priors imply none"
    ratio = observed / expected
    digits = 2 if ratio < 1.5 else 1 if ratio < 10 else 0
    return f"{ratio:,.{digits}f}× what its priors imply"


def _cause(p_value: float | None) -> str:
    if p_value is None:
        return "not known whether a change of priors explains it"
    if p_value < LABEL_SHIFT_LEVEL:
        return "a change of priors alone does not explain it: look at images, for a camera or a class that is new"
    return "consistent with a change of priors"


def _priors(estimate: Interval | None, configured: float) -> str:
    known = "not known" if estimate is None else format(estimate, ".2g" if estimate.value < 0.01 else ".3f")
    return f"estimated prevalence {known}, configured {configured:{'.2g' if configured < 0.01 else '.3f'}}"
