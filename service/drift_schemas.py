"""The public JSON of drift: what was counted beside what was to be expected, per class, with a verdict in words."""

from functools import partial

import numpy as np
from pydantic import BaseModel

from decision import Interval, Policy, PriorsEstimate
from decision.drift import DOUBT_RATIO, LEAST_ANSWERS
from decision.expectation import QUANTITIES
from decision.verdict import LABEL_SHIFT_LEVEL, SEVERITY, State, state_of, verdict
from service.counted import Counted, Shift
from service.estimates import LiveEstimates
from service.rows import Rows
from service.schemas import IntervalDocument, interval


class ShiftDocument(BaseModel):
    """A share or mean of answers, what was expected of it, and how far apart in units of chance; null of none."""

    observed: float | None
    expected: float | None
    z: float | None


class ClassDriftDocument(BaseModel):
    """One class, or the rest: raw predictions free of the policy, what was decided and flagged, posterior mass.

    `prior` is the deployment prior in force, `estimated_prevalence` the live prior by EM and, from raw predictions
    alone, by RLLS (beyond 200 classes by BBSE); `precision` is that of what is called the class, at the estimated
    priors. `effective_images` says for how many answers the reference of raw predictions stands. `state` and `verdict`
    are those of raw predictions or of mass, whichever is worse.
    """

    raw: ShiftDocument
    decision: ShiftDocument
    flag: ShiftDocument | None
    mass: ShiftDocument
    effective_images: float
    prior: float
    estimated_prevalence: IntervalDocument | None
    estimated_prevalence_rlls: IntervalDocument | None
    precision: IntervalDocument | None
    state: State
    verdict: str


class WindowDocument(BaseModel):
    """From when to when, in seconds since the epoch; starts at the last count that was kept before what was asked."""

    since: float
    until: float
    hosts: int
    starts: int


class LabelShiftDocument(BaseModel):
    """Whether a shift of priors alone explains n kept answers: a small p-value says that it does not."""

    p_value: float
    statistic: float
    degrees: int
    n: int
    explained: bool


class DriftDocument(BaseModel):
    """Drift over a window, of all hosts; `kept` is how many answers the estimates rest on.

    A |z| above `least_score` is beyond chance.
    """

    model: str
    policy_revision: int
    window: WindowDocument
    n: int
    least_score: float
    psi: float | None
    psi_z: float | None
    js_divergence: float | None
    confidence: ShiftDocument
    abstention: ShiftDocument
    label_shift: LabelShiftDocument | None
    kept: int
    not_known: list[str]
    classes: dict[str, ClassDriftDocument]
    estimated_priors: dict[str, float] | None
    verdict: str


def drift_document(
    model: str, revision: int, policy: Policy, rows: Rows, counted: Counted, found: LiveEstimates, least_score: float
) -> DriftDocument:  # fmt: skip
    """The public form: what was counted, and what the kept answers say."""
    classes = _classes(policy, rows, counted, found, least_score)
    increase, whole, proposed = counted.increase, counted.whole(), found.proposed
    confidence = counted.overall("confidence")
    return DriftDocument(
        model=model, policy_revision=revision, n=round(counted.n), least_score=least_score,
        window=WindowDocument(since=increase.since / 1000, until=increase.until / 1000, hosts=increase.hosts,
                              starts=increase.starts),
        psi=whole and whole.psi, psi_z=whole and whole.psi_z, js_divergence=whole and whole.js_divergence,
        confidence=_shift(confidence), abstention=_shift(counted.overall("abstention")),
        label_shift=_label_shift(found), kept=found.n, not_known=list(found.why_not), classes=classes,
        estimated_priors=None if proposed is None else policy.by_class(proposed),
        verdict=_summary(classes, counted.n, confidence, least_score),
    )  # fmt: skip


def _classes(
    policy: Policy, rows: Rows, counted: Counted, found: LiveEstimates, least_score: float
) -> dict[str, ClassDriftDocument]:  # fmt: skip
    shifts = {quantity: counted.classes(quantity) for quantity in QUANTITIES}
    priors = rows.folded(policy.deployment_priors)
    can_flag = rows.folded(policy.rule.can_flag.astype(np.float64)) > 0
    own = {name: k for k, name in enumerate(policy.classes)}
    documents = {}
    for row, name in enumerate(rows.names):
        k, raw, mass = own.get(name), shifts["raw"][row], shifts["mass"][row]
        em, rlls = _prevalence(found.em, k), _prevalence(found.rlls, k)
        worse = max(raw, mass, key=partial(_severity, least_score))  # either sees what the other misses
        said = verdict(
            name, observed=worse.observed, expected=worse.expected, z=worse.z, n=counted.n, least_score=least_score,
            p_value=None if found.fit is None else found.fit.p_value, estimate=em or rlls,
            configured=float(priors[row]),
        )  # fmt: skip
        documents[name] = ClassDriftDocument(
            raw=_shift(raw), decision=_shift(shifts["decision"][row]), mass=_shift(mass),
            flag=_shift(shifts["flag"][row]) if can_flag[row] else None,
            effective_images=raw.images, prior=float(priors[row]),
            estimated_prevalence=em and interval(em), estimated_prevalence_rlls=rlls and interval(rlls),
            precision=None if k is None or found.precision is None else interval(found.precision.at(k)),
            state=said.state, verdict=said.words,
        )  # fmt: skip
    return documents


def _severity(least_score: float, one: Shift) -> tuple[int, float]:
    return SEVERITY[state_of(one.observed, one.expected, one.z, one.n, least_score)], abs(one.z)


def _shift(found: Shift) -> ShiftDocument:
    if not found.n:
        return ShiftDocument(observed=None, expected=None, z=None)
    return ShiftDocument(observed=found.observed / found.n, expected=found.expected / found.n, z=found.z)


def _prevalence(found: PriorsEstimate | None, k: int | None) -> Interval | None:
    if found is None or k is None:
        return None
    return Interval(float(found.priors[k]), float(found.low[k]), float(found.high[k]))


def _label_shift(found: LiveEstimates) -> LabelShiftDocument | None:
    if found.fit is None:
        return None
    fit = found.fit
    return LabelShiftDocument(p_value=fit.p_value, statistic=fit.statistic, degrees=fit.degrees, n=fit.n,
                              explained=fit.p_value >= LABEL_SHIFT_LEVEL)  # fmt: skip


def _summary(classes: dict[str, ClassDriftDocument], n: float, confidence: Shift, least_score: float) -> str:
    if n < LEAST_ANSWERS:
        return f"not enough answers: {n:,.0f} of at least {LEAST_ANSWERS}"
    moved = [name for name, one in classes.items() if one.state == "beyond chance"]
    said = [f"{len(moved)} of {len(classes)} classes beyond chance: {', '.join(moved)}" if moved else
            f"no class of {len(classes)} is beyond chance"]  # fmt: skip
    if _doubt(confidence, least_score) == "beyond chance":
        said.append(f"answers are {'less' if confidence.z < 0 else 'more'} sure than the held-out images allow for")
    return f"{'; '.join(said)}, n = {n:,.0f}"


def _doubt(confidence: Shift, least_score: float) -> State:
    """Of the sum of 1 - confidence: the z is the same, with the other sign."""
    c, expected, n = confidence.observed, confidence.expected, confidence.n
    return state_of(n - c, n - expected, confidence.z, n, least_score, DOUBT_RATIO)
