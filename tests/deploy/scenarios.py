"""Scenarios of alerts: a healthy service, disturbed in one way each, and every alert that must fire, no other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.deploy.replicas import JOB, Line, Series
from tests.deploy.worlds import healthy

Disturb = Callable[[Series], Series | None]
MODEL = {"job": JOB, "model": "few", "model_version": "1"}
RARE = MODEL | {"class": "rare"}


@dataclass(frozen=True)
class Scenario:
    """What is disturbed, and the labels of what must fire."""

    name: str
    disturbances: tuple[Disturb, ...] = ()
    firing: tuple[dict[str, str], ...] = ()
    interval: str = "30m"
    count: int = 7

    def series(self) -> list[Series]:
        found: list[Series] = []
        for one in healthy(self.count):
            changed: Series | None = one
            for disturb in self.disturbances:
                changed = changed and disturb(changed)
            found += [changed] if changed else []
        return found


def _matches(one: Series, name: str, wanted: dict[str, str]) -> bool:
    short = one.name.removeprefix("equipoise_").removesuffix("_total")
    return short == name and wanted.items() <= dict(one.labels).items()


def times(factor: float, *names: str, **wanted: str) -> Disturb:
    """So many times as much of some counters or gauges."""

    def disturb(one: Series) -> Series:
        return one.scaled(factor) if any(_matches(one, name, wanted) for name in names) else one

    return disturb


def becomes(name: str, *lines: Line, **wanted: str) -> Disturb:
    """Other values."""
    return lambda one: replace(one, lines=lines) if _matches(one, name, wanted) else one


def constant(name: str, value: float, **wanted: str) -> Disturb:
    return lambda one: replace(one, lines=(Line(value, 0, one.lines[0].count),)) if _matches(one, name, wanted) else one


def early(*names: str, steps: int) -> Disturb:
    """Counters that count for so many steps, and nothing after."""

    def disturb(one: Series) -> Series:
        if not any(_matches(one, name, {}) for name in names):
            return one
        (line,) = one.lines
        last = line.first + steps * line.slope
        return replace(one, lines=(replace(line, count=steps + 1), Line(last, 0, line.count - steps - 1)))

    return disturb


def gone(name: str) -> Disturb:
    return lambda one: None if _matches(one, name, {}) else one


def everything(factor: float) -> Disturb:
    """More or less traffic."""
    return lambda one: one.scaled(factor) if one.name.endswith(("_total", "_sum", "_count", "_bucket")) else one


def page(alert: str, of: dict[str, str], **more: str) -> dict[str, str]:
    return {"alertname": f"Equipoise{alert}", "severity": "page"} | of | more


def ticket(alert: str, of: dict[str, str], **more: str) -> dict[str, str]:
    return page(alert, of, **more) | {"severity": "ticket"}


def both(alert: str, of: dict[str, str]) -> tuple[dict[str, str], ...]:
    return tuple(ticket(alert, of, window=window) for window in ("1h", "24h"))


HITS = ("feedback_audit_true_positive_weight", "feedback_audit_true_positive_squared_weight")
AUDITED = tuple(f"feedback_audit_{part}" for part in (
    "weight", "squared_weight", "true_positive_weight", "true_positive_squared_weight", "called_weight",
    "called_squared_weight", "targeted_weight", "target_weight"))  # fmt: skip
PROMISED = ("feedback_audit_targeted_weight", "feedback_audit_target_weight")
CALIBRATION = ("calibration_weight", "calibration_confidence", "calibration_hits")
DECIDED = ("decisions", "expected_decisions", "expected_decision_variance")
FLAGGED = ("flags", "expected_flags", "expected_flag_variance")
RAW = ("raw_predictions", "expected_raw_predictions", "expected_raw_prediction_variance")
PRIOR_STALE = (ticket("ConfiguredPriorStale", RARE),)

SCENARIOS = (
    Scenario("healthy"),
    Scenario("a threshold changes: labels and flags, and what to expect of them", (
        times(3, *DECIDED, *FLAGGED, **{"class": "rare"}), constant("policy_threshold_ratio", 0.01),
        constant("policy_revision", 8), constant("worker_policy_revision", 8))),
    Scenario("a site with its own priors, configured", (
        times(3, *RAW, **{"class": "rare"}),
        times(3, "policy_prior_ratio", "reference_raw_ratio", **{"class": "rare"}))),
    Scenario("a rare class doubles", (times(2, "raw_predictions", **{"class": "rare"}),),
             (*both("ClassShareShifted", RARE), *PRIOR_STALE)),
    Scenario("it doubles, and labels and flags with it", (
        times(2, "raw_predictions", "decisions", "flags", **{"class": "rare"}),),
             (*both("ClassShareShifted", RARE), *PRIOR_STALE)),
    Scenario("a class grows by a fifth, beyond chance", (
        times(1.2, "raw_predictions", **{"class": "some"}), times(100, "reference_effective_images"))),
    Scenario("it vanishes", (times(0, "raw_predictions", **{"class": "rare"}),),
             (*both("ClassShareShifted", RARE), *PRIOR_STALE)),
    Scenario("its probabilities double, which raw predictions round away", (
        times(2, "posterior_mass", **{"class": "rare"}),), both("ClassShareShifted", RARE)),
    Scenario("it doubles, and raw predictions of few held-out images do not tell", (
        times(2, "raw_predictions", **{"class": "rare"}), times(2.5, "posterior_mass", **{"class": "rare"}),
        times(0.02, "reference_effective_images", quantity="raw")),
             (*both("ClassShareShifted", RARE), *PRIOR_STALE)),
    Scenario("it doubles, and nothing tells it from chance", (
        times(2, "raw_predictions", "posterior_mass", **{"class": "rare"}),
        times(0.02, "reference_effective_images"))),
    Scenario("its probabilities grow by a fifth, beyond chance", (
        times(1.2, "posterior_mass", **{"class": "some"}), times(100, "reference_effective_images"))),
    Scenario("it is eight times as common among few answers", (
        everything(0.009), times(8, "raw_predictions", "posterior_mass", **{"class": "rare"}))),
    Scenario("no traffic", (everything(0),)),
    Scenario("images are strange", (times(0.94, "confidence_sum"),), both("ConfidenceShifted", MODEL)),
    Scenario("images are a little strange", (times(0.97, "confidence_sum"),)),
    Scenario("labels are not the policy's", (times(2, "decisions", **{"class": "rare"}),),
             both("DecisionsOffExpectation", RARE)),
    Scenario("flags are not the policy's", (times(2, "flags", **{"class": "rare"}),),
             both("DecisionsOffExpectation", RARE)),
    Scenario("labels follow another class's raw predictions", (
        times(2, "decisions", **{"class": "rare"}), times(1.2, "raw_predictions", **{"class": "some"}),
        times(100, "reference_effective_images"))),
    Scenario("labels follow another class's probabilities", (
        times(2, "decisions", **{"class": "rare"}), times(1.2, "posterior_mass", **{"class": "some"}),
        times(100, "reference_effective_images"))),
    Scenario("a label comes that the policy never gives", (
        times(0, "expected_decisions", "expected_decision_variance", **{"class": "rare"}),),
             both("DecisionsOffExpectation", RARE)),
    Scenario("recall is below its target", (times(0.8, *HITS, **{"class": "rare"}),),
             tuple(page("ObservedRecallBelowTarget", RARE, window=window) for window in ("24h", "7d"))),
    Scenario("recall may be below its target", (
        times(0.94, *HITS, **{"class": "rare"}),)),
    Scenario("a target rises above the recall of answers that were promised less", (
        times(2.5, *AUDITED, *CALIBRATION), times(0.875 / 0.95, *HITS, **{"class": "rare"}),
        times(0.85 / 0.9, "feedback_audit_target_weight", **{"class": "rare"}),
        early(*AUDITED, *CALIBRATION, steps=2),
        becomes("policy_target_recall_ratio", Line(0.85, 0, 3), Line(0.95, 0, 4), **{"class": "rare"}))),
    Scenario("recall is below the target of a class that only half of the labels were promised", (
        times(0.8, *HITS, **{"class": "rare"}), times(0.5, *PROMISED, **{"class": "rare"}))),
    Scenario("recall of a few images", (
        times(0.02, *AUDITED), times(0.2, *HITS))),
    Scenario("only reviewed flags are labelled", (
        times(0, *AUDITED, *CALIBRATION), times(0, "feedback_labels", design="audit"))),
    Scenario("fallback", (constant("policy_fallback", 1, instance="b"),), (page("PolicyFallback", MODEL),)),
    Scenario("one of two replicas is down", (constant("up", 0, instance="b"),), (page("TargetDown", {"job": JOB}),)),
    Scenario("no metrics", (gone("model_info"),), (page("MetricsAbsent", {"job": JOB}),)),
    Scenario("errors", (becomes("requests", Line(0, 100, 16), status="503"),),
             (page("HighErrorRate", {"job": JOB}),), "1m", 16),
    Scenario("a few errors", (becomes("requests", Line(0, 30, 16), status="503"),), (), "1m", 16),
    Scenario("errors among few requests", (
        becomes("requests", Line(0, 1, 16), status="503"), becomes("requests", Line(0, 0.5, 16), status="200")),
             (), "1m", 16),
    Scenario("overconfident", (times(0.7, "calibration_hits"),), (ticket("CalibrationOff", MODEL),)),
    Scenario("overconfident on a few labels", (
        times(0.02, *CALIBRATION, *AUDITED), times(0.8, "calibration_hits"))),
    Scenario("labels stop", (becomes("feedback_items", Line(0, 20, 3), Line(40, 0, 14), result="accepted"),),
             (ticket("FeedbackStalled", {"job": JOB, "result": "accepted"}),), "2h", 17),
    Scenario("labels never came", (constant("feedback_items", 0), times(0, *AUDITED, *CALIBRATION)), (), "2h", 17),
    Scenario("a replica lags behind", (constant("worker_policy_revision", 6, instance="b", bound="oldest"),),
             (ticket("PolicyNotPropagated", MODEL),)),
    Scenario("the store is down for a replica", (constant("store_up", 0, instance="b"),),
             (ticket("PolicyStoreDown", MODEL),)),
    Scenario("answers are lost", (becomes("answers_dropped", Line(0, 3, 7), instance="a"),),
             (ticket("AnswersDropped", MODEL),)),
    Scenario("somebody tries tokens", (becomes("auth_failures", Line(0, 100, 7), reason="wrong"),),
             (ticket("AuthFailures", {"job": JOB, "reason": "wrong"}),)),
)  # fmt: skip
