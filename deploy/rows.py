"""What the dashboard shows, row by row: one table of panels with their queries."""

from deploy.panels import BAD_ABOVE_ZERO, BAD_AT_ZERO, SCORE_STEPS, Panel, Query
from deploy.thresholds import TARGETED

JOB = 'job=~"$job"'
MODEL = f'{JOB}, model=~"$model"'
CLASS = f'{MODEL}, class=~"$class"'
RATE = "$__rate_interval"

Row = tuple[str, tuple[Panel, ...]]


def _one(expr: str, legend: str = "{{class}}") -> tuple[Query, ...]:
    return (Query(expr, legend),)


def _of_class(rule: str) -> str:
    return f"model_class:equipoise_{rule}{{{CLASS}}}"


def _of_model(rule: str) -> str:
    return f"model:equipoise_{rule}{{{MODEL}}}"


def _summed(metric: str, by: str, matchers: str = JOB) -> str:
    return f"sum by ({by}) (rate(equipoise_{metric}{{{matchers}}}[{RATE}]))"


def _quantiles(metric: str, by: str, matchers: str = JOB) -> tuple[Query, ...]:
    return tuple(
        Query(f"histogram_quantile({q}, {_summed(f'{metric}_bucket', f'{by}, le', matchers)})",
              f"p{q * 100:g} {{{{{by}}}}}")
        for q in (0.5, 0.95, 0.99)
    )  # fmt: skip


PROMISE = (
    Panel("Pages", "Alerts that fire and say that a promise to the user is broken.", "short",
          _one(f'count(ALERTS{{{JOB}, alertstate="firing", severity="page"}}) or vector(0)', "pages"),
          "stat", 4, 4, BAD_ABOVE_ZERO),
    Panel("Tickets", "Alerts that fire and want a look in working hours: drift, stale priors, lost answers.", "short",
          _one(f'count(ALERTS{{{JOB}, alertstate="firing", severity="ticket"}}) or vector(0)', "tickets"),
          "stat", 4, 4, ((None, "green"), (0.5, "orange"))),
    Panel("Fallback", "1 while the bundle's default policy is in force because the last one cannot be.", "short",
          _one(f"max by (model) (equipoise_policy_fallback{{{MODEL}}})", "{{model}}"), "stat", 4, 4, BAD_ABOVE_ZERO),
    Panel("Room above the recall target", "Upper limit of the recall that audited labels of 7 days show, less the "
          "target in force when those answers were given: below 0 the promise is broken.", "percentunit",
          _one(f"{_of_class('observed_recall:wilson_upper_corrected7d')}\n- {_of_class('observed_recall:target7d')}\n"
               f"and {_of_class('observed_recall:targeted7d')} > {TARGETED}"), span=12, height=4),
    Panel("Alerts that fire", "Each alert over time.", "short",
          _one(f'max by (alertname, severity) (ALERTS{{{JOB}, alertstate="firing", alertname=~"Equipoise.*"}})',
               "{{alertname}} ({{severity}})"), "states", 24, 6, ((None, "green"), (1, "red"))),
)  # fmt: skip

TRAFFIC = (
    Panel("Requests", "Requests by route template and status.", "reqps",
          _one(_summed("requests_total", "route, status"), "{{route}} {{status}}")),
    Panel("Error share", "Share of requests of the last 5 minutes that are answered 5xx.", "percentunit",
          _one(f"job:equipoise_requests:error_ratio5m{{{JOB}}}", "{{job}}")),
    Panel("Request duration", "From request to answer, all replicas, by route.", "s",
          _quantiles("request_duration_seconds", "route")),
    Panel("Stage duration", "Decode, infer and decide: where the time of an answer goes.", "s",
          _quantiles("stage_duration_seconds", "stage")),
    Panel("Answers", "Answers of the last hour: what the figures of that window rest on.", "short",
          _one(_of_model("raw_predictions:increase1h"), "{{model}} {{model_version}}")),
    Panel("Batches", "Mean images of a batch, and images that waited as the last ones began: what a burst looks like.",
          "short",
          (Query(f"sum by (job) (rate(equipoise_batch_size_sum{{{JOB}}}[$__rate_interval]))\n"
                 f"/ sum by (job) (rate(equipoise_batch_size_count{{{JOB}}}[$__rate_interval]))", "images of a batch"),
           Query(f"sum by (job) (equipoise_waiting_requests{{{JOB}}})", "waiting"))),
    Panel("Turned away", "Images refused at once, since they would have waited too long.", "reqps",
          _one(f"sum by (job) (rate(equipoise_refused_requests_total{{{JOB}}}[$__rate_interval]))", "refused")),
    Panel("Workers", "Live workers by execution provider.", "short",
          _one(f"sum by (provider) (equipoise_workers{{{MODEL}}})", "{{provider}}")),
)  # fmt: skip

POLICY = (
    Panel("Revision", "The greatest revision in force; purple marks on all panels are its changes.", "none",
          _one(f"max by (model) (equipoise_policy_revision{{{MODEL}}})", "{{model}}"), "stat", 4, 6),
    Panel("Age", "Since the policy in force was stored.", "s",
          _one(f"time() - max by (model) (equipoise_policy_updated_timestamp_seconds{{{MODEL}}})", "{{model}}"),
          "stat", 4, 6),
    Panel("Revision skew", "Newest revision that any worker decides by, less the oldest: 0 but for a moment.", "short",
          _one(f"model:equipoise_policy_revision:skew{{{MODEL}}}", "{{model}}"), span=8, height=6),
    Panel("Thresholds", "Threshold of each class on adjusted probabilities.", "percentunit",
          _one(f"max by (class) (equipoise_policy_threshold_ratio{{{CLASS}}})"), span=8, height=6),
    Panel("Targets", "Certified recall target of each class that has one.", "percentunit",
          _one(f"max by (class) (equipoise_policy_target_recall_ratio{{{CLASS}}})"), "bars", 8, 6),
    Panel("Worker revisions", "The oldest and newest revision over the workers of all replicas.", "none",
          (Query(f'min by (model) (equipoise_worker_policy_revision{{{MODEL}, bound="oldest"}})', "oldest {{model}}"),
           Query(f'max by (model) (equipoise_worker_policy_revision{{{MODEL}, bound="newest"}})', "newest {{model}}")),
          span=16, height=6),
)  # fmt: skip

DECISIONS = (
    Panel("Raw prediction scores, 24 h", "Class by time: how far the share of raw predictions is from what the "
          "deployment priors imply, in standard errors. Blue is less, red is more; green is chance.", "none",
          _one(_of_class("raw_predictions:zscore24h")), "scores", 12, 10, SCORE_STEPS),
    Panel("Decision scores, 24 h", "Class by time: labels against what the policies in force should give.", "none",
          _one(_of_class("decisions:zscore24h")), "scores", 12, 10, SCORE_STEPS),
    Panel("Raw prediction scores, 1 h", "The same over the last hour: sudden shifts.", "none",
          _one(_of_class("raw_predictions:zscore1h")), "scores", 12, 8, SCORE_STEPS),
    Panel("Flag scores, 24 h", "Class by time: flags against what the policies in force should give.", "none",
          _one(_of_class("flags:zscore24h")), "scores", 12, 8, SCORE_STEPS),
    Panel("Raw share and its expectation, 24 h", "Share of each class among raw predictions, and what the "
          "deployment priors imply.", "percentunit",
          (Query(_of_class("raw_predictions:ratio24h"), "{{class}}"),
           Query(_of_class("expected_raw_predictions:ratio24h"), "{{class}} expected"))),
    Panel("Labels over expectation, 24 h", "1 where the policy gives what it should.", "short",
          _one(_of_class("decisions_to_expected:ratio24h"))),
    Panel("Posterior mass scores, 24 h", "Class by time: adjusted probability against its expectation.", "none",
          _one(_of_class("posterior_mass:zscore24h")), "scores", 8, 8, SCORE_STEPS),
    Panel("PSI", "Population stability index as a score: 3 is beyond chance whatever the number of answers.", "none",
          (Query(_of_model("raw_predictions:psi_zscore1h"), "1 h {{model}}"),
           Query(_of_model("raw_predictions:psi_zscore24h"), "24 h {{model}}"))),
    Panel("Jensen-Shannon divergence", "Of raw shares from their expectation, in bits; it grows with few "
          "answers.", "none",
          (Query(_of_model("raw_predictions:js_bits1h"), "1 h {{model}}"),
           Query(_of_model("raw_predictions:js_bits24h"), "24 h {{model}}"))),
    Panel("Abstentions and confidence, 24 h", "Share of answers without a label, mean top probability, and what "
          "to expect.", "percentunit",
          (Query(_of_model("abstentions:ratio24h"), "abstained {{model}}"),
           Query(_of_model("expected_abstentions:ratio24h"), "abstained, expected {{model}}"),
           Query(_of_model("confidence:ratio24h"), "confidence {{model}}"),
           Query(_of_model("expected_confidence:ratio24h"), "confidence, expected {{model}}"))),
)  # fmt: skip

PREVALENCE = (
    Panel("Estimated prevalence, 24 h", "The class mix that raw predictions imply, by the confusion matrix of the "
          "holdout.", "percentunit",
          _one(_of_class("estimated_prevalence:ratio24h")), span=12),
    Panel("Configured priors", "Deployment priors of the policy in force.", "percentunit",
          _one(f"max by (class) (equipoise_policy_prior_ratio{{{CLASS}}})"), span=12),
    Panel("Estimated prevalence over prior, 24 h", "Beyond 2 or below 0.5, and beyond chance, the prior is stale.",
          "short",
          _one(_of_class("estimated_prevalence_to_prior:ratio24h")), span=12),
    Panel("Raw share at the priors in force", "What the holdout lets one expect now.", "percentunit",
          _one(f"max by (class) (equipoise_reference_raw_ratio{{{CLASS}}})"), "bars", 12),
)  # fmt: skip


def _band(name: str, title: str, description: str, more: tuple[Query, ...]) -> Panel:
    rule = f"observed_{name}"
    queries = (Query(_of_class(f"{rule}:wilson_lower7d"), "lower"), Query(_of_class(f"{rule}:wilson_upper7d"), "upper"),
               Query(_of_class(f"{rule}:ratio7d"), name), *more)  # fmt: skip
    return Panel(title, description, "percentunit", queries, span=24, band=("lower", "upper"), repeat="class")


QUALITY = (
    Panel("Audited images, 7 d", "Effective number of audited images of each class that the recall rests on.", "short",
          _one(_of_class("observed_recall:images7d"))),
    Panel("Labels by design, 7 d", "True labels by class and sampling design; only audited ones enter recall.", "short",
          _one(f"model_class_design:equipoise_feedback_labels:increase7d{{{CLASS}}}", "{{class}} {{design}}")),
    Panel("Label delay", "From answer to label.", "s", _quantiles("feedback_delay_seconds", "model", MODEL)),
    _band("recall", "Recall of $class, 7 d", "Share of audited images of the class that were called it, with its "
          "95% band, beside the target that its answers were promised and the one in force now. By the time the label "
          "came.",
          (Query(_of_class("observed_recall:target7d"), "promised"),
           Query(f"max by (class) (equipoise_policy_target_recall_ratio{{{CLASS}}})", "target now"),
           Query(_of_class("estimated_flag_recall:ratio24h"), "by probabilities, 24 h"))),
    _band("precision", "Precision of $class, 7 d", "Share of audited images called the class that are of it, with "
          "its 95% band, beside estimates without labels.",
          (Query(_of_class("estimated_flag_precision:ratio24h"), "by probabilities, 24 h"),
           Query(_of_class("label_shift_flag_precision:ratio24h"), "under label shift, 24 h"))),
)  # fmt: skip

CALIBRATION = (
    Panel("Calibration error, 7 d", "Expected calibration error of audited labels, and what chance alone gives a "
          "perfectly calibrated model with as many.", "percentunit",
          (Query(_of_model("ece:ratio7d"), "error {{model}}"),
           Query(_of_model("ece:chance_mean7d"), "chance {{model}}"))),
    Panel("Reliability, 7 d", "Share of hits less mean confidence by bin of confidence: below 0 is overconfident.",
          "percentunit",
          _one(f"(\n    model_bin:equipoise_calibration_hits:increase7d{{{MODEL}}}\n"
               f"  - model_bin:equipoise_calibration_confidence:increase7d{{{MODEL}}}\n)\n"
               f"/ (model_bin:equipoise_calibration_weight:increase7d{{{MODEL}}} > 0)", "{{bin}}"), "bars"),
    Panel("Confidence", "Top adjusted probability of the answers over time.", "short",
          _one(f"sum by (le) (increase(equipoise_confidence_bucket{{{MODEL}}}[{RATE}]))", "{{le}}"), "heatmap"),
)  # fmt: skip

HEALTH = (
    Panel("Replicas", "Share of the replicas that Prometheus reaches.", "percentunit",
          _one(f"avg by (job) (up{{{JOB}}})", "{{job}}"), "stat", 4, 6, BAD_AT_ZERO),
    Panel("Policy store", "1 while the store answers every replica.", "short",
          _one(f"min by (model) (equipoise_store_up{{{MODEL}}})", "{{model}}"), "stat", 4, 6, BAD_AT_ZERO),
    Panel("Answers dropped", "Answers of the last hour that were given and never stored.", "short",
          _one(f"model:equipoise_answers_dropped:increase1h{{{MODEL}}}", "{{model}}"), height=6),
    Panel("Requests without a token", "Requests turned away in the last hour, by reason.", "short",
          _one(f"reason:equipoise_auth_failures:increase1h{{{JOB}}}", "{{reason}}"), height=6),
    Panel("Feedback items, 24 h", "Items of POST /feedback by what became of them.", "short",
          _one(f"result:equipoise_feedback_items:increase24h{{{JOB}}}", "{{result}}"), height=6),
    Panel("Reference size", "For how many independent answers the holdout stands: few make every score of the "
          "class weak.", "short",
          _one(_of_class("reference_raw_images:max")), "bars", 8, 6),
    Panel("Held-out images", "Held-out images (groups) of each class.", "short",
          _one(f"max by (class) (equipoise_reference_images{{{CLASS}}})"), "bars", 8, 6),
    Panel("Scrape duration", "How long a scrape takes.", "s",
          _one(f"max by (job) (scrape_duration_seconds{{{JOB}}})", "{{job}}"), height=6),
    Panel("Models", "What is served.", "none",
          _one(f"max by (model, model_version, classes) (equipoise_model_info{{{MODEL}}})", "{{model}}"),
          "table", 8, 6),
    Panel("Builds", "Versions of the service and what it stands on.", "none",
          _one(f"count by (equipoise, bentoml, onnxruntime, python) (equipoise_build_info{{{JOB}}})", "{{equipoise}}"),
          "table", 8, 6),
)  # fmt: skip

ROWS: tuple[Row, ...] = (
    ("Promise", PROMISE), ("Traffic", TRAFFIC), ("Policy", POLICY), ("Decisions against expectation", DECISIONS),
    ("Prevalence against priors", PREVALENCE), ("Recall and precision", QUALITY), ("Calibration", CALIBRATION),
    ("Health", HEALTH),
)  # fmt: skip
