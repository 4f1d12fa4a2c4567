"""Every metric of the service's /metrics that rules, dashboard and runbooks may name, with its type and labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MODEL = ("model", "model_version")
CLASS = (*MODEL, "class")
DESIGN = (*CLASS, "design")

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """One family of the exposition; a histogram's series are its name with _bucket, _sum and _count."""

    name: str
    kind: Kind
    labels: tuple[str, ...]

    def series(self) -> tuple[str, ...]:
        """Names that a query may use."""
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count")) if self.kind == "histogram" else (
            self.name,
        )  # fmt: skip


def _of(kind: Kind, labels: tuple[str, ...], *names: str) -> Iterator[Metric]:
    return (Metric(f"equipoise_{name}", kind, labels) for name in names)


METRICS = (
    *_of("counter", CLASS,
         "raw_predictions_total", "expected_raw_predictions_total", "expected_raw_prediction_variance_total",
         "decisions_total", "expected_decisions_total", "expected_decision_variance_total",
         "flags_total", "expected_flags_total", "expected_flag_variance_total",
         "posterior_mass_total", "expected_posterior_mass_total", "expected_posterior_mass_variance_total",
         "decided_posterior_mass_total", "flagged_posterior_mass_total",
         "feedback_audit_weight_total", "feedback_audit_squared_weight_total",
         "feedback_audit_true_positive_weight_total", "feedback_audit_true_positive_squared_weight_total",
         "feedback_audit_called_weight_total", "feedback_audit_called_squared_weight_total",
         "feedback_audit_targeted_weight_total", "feedback_audit_target_weight_total"),
    *_of("counter", MODEL,
         "abstentions_total", "expected_abstentions_total", "expected_abstention_variance_total",
         "expected_confidence_total", "expected_confidence_variance_total", "answers_dropped_total"),
    *_of("counter", DESIGN,
         "feedback_labels_total", "feedback_called_total", "feedback_true_positives_total"),
    *_of("counter", (*MODEL, "bin"),
         "calibration_weight_total", "calibration_confidence_total", "calibration_hits_total"),
    *_of("counter", ("result",), "feedback_items_total"),
    *_of("counter", ("route", "status"), "requests_total"),
    *_of("counter", ("reason",), "auth_failures_total"),
    *_of("histogram", MODEL, "confidence", "feedback_delay_seconds"),
    *_of("histogram", ("stage",), "stage_duration_seconds"),
    *_of("histogram", ("route",), "request_duration_seconds"),
    *_of("histogram", (), "batch_size"),
    *_of("counter", (), "refused_requests_total"),
    *_of("gauge", (), "waiting_requests"),
    *_of("gauge", CLASS,
         "reference_raw_ratio", "reference_images", "reference_raw_recall_ratio", "reference_raw_fpr_ratio",
         "reference_flag_recall_ratio", "policy_threshold_ratio", "policy_prior_ratio", "policy_target_recall_ratio"),
    *_of("gauge", (*CLASS, "quantity"), "reference_effective_images"),
    *_of("gauge", (*CLASS, "true_class"), "bbse_inverse"),
    *_of("gauge", MODEL,
         "policy_revision", "policy_updated_timestamp_seconds", "policy_fallback", "store_up"),
    *_of("gauge", (*MODEL, "bound"), "worker_policy_revision"),
    *_of("gauge", (*MODEL, "provider"), "workers"),
    *_of("gauge", (*MODEL, "classes"), "model_info"),
    *_of("gauge", ("equipoise", "bentoml", "onnxruntime", "python"), "build_info"),
)  # fmt: skip

SERIES = frozenset(name for metric in METRICS for name in metric.series())
