"""What is counted of answers and of their labels: the families of metrics that are sums over workers, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from service.labels import Result
from service.tally import Layout

OTHER = "__other__"
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
DELAYS = (1.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 1_209_600.0)
STAGES = ("decode", "infer", "decide")
DESIGNS = ("audit", "review")
RESULTS: tuple[str, ...] = get_args(Result)
BINS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0")
CLOSED: Mapping[str, tuple[str, ...]] = {"stage": STAGES, "design": DESIGNS, "result": RESULTS, "bin": BINS}
"""The label values of each axis but that of classes."""


@dataclass(frozen=True)
class Family:
    """A counter with one value per combination of its axes; with buckets a histogram of those upper edges."""

    name: str
    help: str
    axes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _expected(what: str, name: str, axes: tuple[str, ...] = ("class",)) -> tuple[Family, Family]:
    return (
        Family(f"equipoise_expected_{name}s_total", f"{what} that the deployment priors in force imply.", axes),
        Family(f"equipoise_expected_{name}_variance_total", f"Variance of the expected: {what.lower()}.", axes),
    )


EXPECTED = (
    *_expected("Raw predictions", "raw_prediction"),
    *_expected("Decisions", "decision"),
    *_expected("Flags", "flag"),
    Family("equipoise_expected_posterior_mass_total", "Posterior mass that the deployment priors in force imply.",
           ("class",)),
    Family("equipoise_expected_posterior_mass_variance_total", "Variance of the expected: posterior mass.", ("class",)),
    *_expected("Abstentions", "abstention", ()),
    Family("equipoise_expected_confidence_total", "Confidence that the deployment priors in force imply."),
    Family("equipoise_expected_confidence_variance_total", "Variance of the expected: confidence."),
)  # fmt: skip
"""What an answer adds because of the policy it was decided by, whatever it says. They come first in a tally."""

OBSERVED = (
    Family("equipoise_raw_predictions_total", "Most probable class under the calibration priors: free of the policy.",
           ("class",)),
    Family("equipoise_decisions_total", "Answers by label, under the policy in force.", ("class",)),
    Family("equipoise_flags_total", "Answers by flag, under the policy in force.", ("class",)),
    Family("equipoise_posterior_mass_total", "Sum of adjusted probabilities.", ("class",)),
    Family("equipoise_decided_posterior_mass_total", "Sum of adjusted probabilities of labels.", ("class",)),
    Family("equipoise_flagged_posterior_mass_total", "Sum of adjusted probabilities of flagged classes.", ("class",)),
    Family("equipoise_abstentions_total", "Answers without a label."),
    Family("equipoise_confidence", "Largest adjusted probability of an answer.", (),
           CONFIDENCES),
    Family("equipoise_stage_duration_seconds", "Time of a request by stage.", ("stage",), DURATIONS),
)  # fmt: skip

FEEDBACK = (
    Family("equipoise_feedback_items_total", "Labels sent to /feedback, by what became of them.", ("result",)),
    Family("equipoise_feedback_labels_total", "First labels of answers, by true class and sampling design.",
           ("class", "design")),
    Family("equipoise_feedback_called_total", "Labelled answers by called class: flagged, or labelled where it cannot "
           "be flagged.", ("class", "design")),
    Family("equipoise_feedback_true_positives_total", "Labelled answers called their true class.", ("class", "design")),
    Family("equipoise_feedback_audit_weight_total", "Audited answers by true class, by 1 / inclusion probability.",
           ("class",)),
    Family("equipoise_feedback_audit_squared_weight_total", "Squares of those weights.", ("class",)),
    Family("equipoise_feedback_audit_true_positive_weight_total", "Those weights, of answers called the true class.",
           ("class",)),
    Family("equipoise_feedback_audit_true_positive_squared_weight_total", "Squares of those weights.", ("class",)),
    Family("equipoise_feedback_audit_targeted_weight_total", "Weights of audited answers by true class, of answers "
           "whose policy promised a recall of it.", ("class",)),
    Family("equipoise_feedback_audit_target_weight_total", "Those weights times the recall that was promised.",
           ("class",)),
    Family("equipoise_feedback_audit_called_weight_total", "Weights of audited answers by called class.", ("class",)),
    Family("equipoise_feedback_audit_called_squared_weight_total", "Squares of those weights.", ("class",)),
    Family("equipoise_feedback_delay_seconds", "Time from an answer to its first label.", (),
           DELAYS),
    Family("equipoise_calibration_weight_total", "Audited answers by confidence, by 1 / inclusion probability.",
           ("bin",)),
    Family("equipoise_calibration_confidence_total", "Weighted confidence of those.", ("bin",)),
    Family("equipoise_calibration_hits_total", "Weights of those whose most probable class is true.", ("bin",)),
)  # fmt: skip

FAMILIES = (*EXPECTED, *OBSERVED, *FEEDBACK)
WITHOUT_MODEL = frozenset({"equipoise_stage_duration_seconds", "equipoise_feedback_items_total"})
"""Families of the service, not of its model."""
REVISION = "revision"
"""The block of the revision that a worker decides by."""


def layout(rows: int) -> Layout:
    """A tally's blocks for this many classes or groups of them; a histogram's last two columns are +Inf and the sum."""
    sizes = {axis: len(values) for axis, values in CLOSED.items()} | {"class": rows}
    shapes = {
        family.name: (*(sizes[axis] for axis in family.axes), *((len(family.buckets) + 2,) if family.buckets else ()))
        for family in FAMILIES
    }
    return Layout(shapes | {REVISION: (1,)})
