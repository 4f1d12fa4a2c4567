"""Verdict: what the drift of one class means, in words for the person who has to act on it."""

from dataclasses import dataclass
from typing import Literal, get_args

from decision.drift import LEAST_ANSWERS, SMALL
from decision.intervals import Interval

State = Literal["not enough answers", "within chance", "beyond chance but small", "beyond chance"]
SEVERITY: dict[State, int] = {state: rank for rank, state in enumerate(get_args(State))}

LABEL_SHIFT_LEVEL = 0.01  # p-values of `label_shift_fit` below it: priors are not all that changed


@dataclass(frozen=True)
class Verdict:
    """Whether a class has drifted, and in words why, with what it rests on. Only "beyond chance" asks for an action."""

    state: State
    words: str


def verdict(
    name: str, *, observed: float, expected: float, z: float, n: float, least_score: float,
    p_value: float | None, estimate: Interval | None, configured: float,
) -> Verdict:  # fmt: skip
    """Of the class `name`: sums `observed` and `expected` over n answers, and their `drift.score` z.

    `p_value` is that of `label_shift_fit`, `estimate` the class's estimated live prior, `configured` the deployment
    prior; None where they are not known. A shift is told of from 200 answers on, where |z| > least_score and the
    ratio of observed to expected is outside 0.8 to 1.25.
    """
    state = state_of(observed, expected, z, n, least_score)
    if state == "not enough answers":
        return Verdict(state, f"share of *{name}*: {state}, n = {n:,.0f} of at least {LEAST_ANSWERS}")
    words = f"share of *{name}* {_times(observed, expected, n)}, n = {n:,.0f}, {state}"
    if state == "beyond chance":
        words += f"; {_cause(p_value)}; {_priors(estimate, configured)}"
    return Verdict(state, words)


def state_of(
    observed: float, expected: float, z: float, n: float, least_score: float, small: tuple[float, float] = SMALL
) -> State:
    """Of a sum over n answers; between the ratios `small` of observed to expected a shift is told nobody."""
    if n < LEAST_ANSWERS:
        return "not enough answers"
    if not abs(z) > least_score:
        return "within chance"
    if small[0] * expected <= observed <= small[1] * expected:
        return "beyond chance but small"
    return "beyond chance"


def _times(observed: float, expected: float, n: float) -> str:
    if not expected > 0:
        return f"{observed / n:.2g}, where the priors then in force imply none"
    ratio = observed / expected
    digits = 2 if ratio < 1.5 else 1 if ratio < 10 else 0
    return f"{ratio:,.{digits}f}× what the priors then in force imply"


def _cause(p_value: float | None) -> str:
    if p_value is None:
        return "not known whether a change of priors explains it"
    if p_value < LABEL_SHIFT_LEVEL:
        return "a change of priors alone does not explain it: look at images, for a camera or a class that is new"
    return "consistent with a change of priors"


def _priors(estimate: Interval | None, configured: float) -> str:
    known = "not known" if estimate is None else format(estimate, ".2g" if estimate.value < 0.01 else ".3f")
    return f"estimated prevalence {known}, configured {configured:{'.2g' if configured < 0.01 else '.3f'}}"
