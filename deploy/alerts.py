"""Alerts: a promise to the user that is broken is a page, whatever may become one is a ticket; each has its runbook."""

from dataclasses import dataclass

from deploy.drift import CONFIDENCE, DECISIONS, FLAGS, MASS, RAW, Quantity, answers
from deploy.operations import DROPPED, ERRORS, REFUSED, REQUESTS, SKEW
from deploy.promql import REPLICAS, Alert, Group, Severity, greatest
from deploy.quality import accepted
from deploy.thresholds import (
    AUTH_FAILURES_AN_HOUR,
    CLEAR_SCORE,
    DOUBT_RATIO,
    ECE,
    ECE_SCORE,
    ERROR_SHARE,
    FEWEST_ANSWERS,
    FEWEST_AUDITED,
    FEWEST_REQUESTS,
    PRIOR_FACTOR,
    RATIO,
    SCORE,
    TARGETED,
    TARGETS_UP,
)
from deploy.windows import DAY, DRIFT, FEEDBACK, HOUR, WEEK, Timing, Window

MODEL = "job, model, model_version"
OF_CLASS = ("job", "model", "model_version", "class")
MINUTE = 60


@dataclass(frozen=True)
class Writer:
    """Makes alerts whose waits are scaled and whose runbooks lie below one address."""

    timing: Timing
    runbooks: str
    job: str

    def alert(
        self, name: str, severity: Severity, expr: str, minutes: float, summary: str, description: str, window: str = ""
    ) -> Alert:
        """An alert named Equipoise…"""
        name = f"Equipoise{name}"
        wait, runbook = self.timing.duration(minutes * MINUTE), f"{self.runbooks}#{name.lower()}"
        return Alert(name, expr, wait, severity, summary, description, runbook, window)


def groups(timing: Timing, runbooks: str, job: str) -> list[Group]:
    """Pages and tickets, evaluated at the fastest interval."""
    write, interval = Writer(timing, runbooks, job), timing.interval(HOUR)
    return [
        Group("equipoise-pages", interval, [*_promises(write), *_reachable(write)]),
        Group("equipoise-drift-tickets", interval, [*_shifts(write), _prior_stale(write)]),
        Group("equipoise-tickets", interval, [*_calibration(write), *_operations(write)]),
    ]


def _promises(write: Writer) -> list[Alert]:
    """A recall is judged against the targets that were in force when its answers were given."""
    recall = "model_class:equipoise_observed_recall"
    return [
        *(
            write.alert(
                "ObservedRecallBelowTarget", "page",
                f"{recall}:wilson_upper_corrected{w.name}\n< {recall}:target{w.name}\n"
                f"and\n{recall}:images{w.name} >= {FEWEST_AUDITED}\n"
                f"and\n{recall}:targeted{w.name} > {TARGETED}",
                60, "The recall that audited labels show is below the target.",
                f"{{{{ $labels.model }}}}/{{{{ $labels.class }}}}: with 95% certainty the recall of the last "
                f'{w.name} is below {{{{ printf "%.3f" $value }}}}, and that is below the target of those answers.',
                w.name,
            )
            for w in FEEDBACK
        ),
        write.alert(
            "PolicyFallback", "page", f"{greatest('equipoise_policy_fallback')} == 1", 5,
            "The bundle's default policy is in force because the last one cannot be.",
            "{{ $labels.model }} {{ $labels.model_version }} cannot compile the last policy; its thresholds, "
            "priors and certificates are not in force.",
        ),
    ]  # fmt: skip


def _reachable(write: Writer) -> list[Alert]:
    job = f'{{job="{write.job}"}}'
    return [
        write.alert(
            "TargetDown", "page", f"avg without ({REPLICAS}) (up{job}) <= {TARGETS_UP}", 5,
            "Half of the replicas or more cannot be scraped.",
            'Prometheus reaches {{ printf "%.2f" $value }} of the replicas of {{ $labels.job }}.',
        ),
        write.alert(
            "MetricsAbsent", "page", f"absent(equipoise_model_info{job})", 10,
            "No replica hands out the service's metrics.",
            "{{ $labels.job }} has no equipoise_model_info: nothing is watched.",
        ),
        write.alert(
            "HighErrorRate", "page", f"{ERRORS} > {ERROR_SHARE}\nand\n{REQUESTS} >= {FEWEST_REQUESTS}", 5,
            "Too many requests are answered with a 5xx status.",
            'A share of {{ printf "%.3f" $value }} of the requests to {{ $labels.job }} fails.',
        ),
    ]  # fmt: skip


def shifted(of: Quantity, window: Window) -> str:
    """A score beyond chance, of enough answers, and a ratio that is worth the while; valued by the ratio."""
    ratio = of.at(f"{of.observed}_to_expected", f"ratio{window.name}")
    return (
        f"(\n    {ratio} < {RATIO[0]}\n  or\n    {ratio} > {RATIO[1]}\n)\n"
        f"and\n{_beyond(of, window, SCORE[window.name])}\n{_enough(window)}"
    )


def _beyond(of: Quantity, window: Window, score: float) -> str:
    return f"abs({of.at(of.observed, f'zscore{window.name}')}) > {score}"


def _enough(window: Window) -> str:
    return f"and on ({MODEL})\n{answers(window)} >= {FEWEST_ANSWERS}"


def _either_beyond(window: Window, score: float) -> str:
    """Of raw predictions or of mass: mass keeps what the most probable class rounds away, and tells a shift earlier."""
    return f"(\n    {_beyond(RAW, window, score)}\n  or\n    {_beyond(MASS, window, score)}\n)"


def _either(one: Quantity, other: Quantity, window: Window) -> str:
    """What has shifted of two quantities, valued by the first that did."""
    return f"(\n{shifted(one, window)}\n)\nor\n(\n{shifted(other, window)}\n)"


def _which(window: Window) -> str:
    """A template: whose ratio the value is. A label that says it would begin the wait anew whenever it changes."""
    ratio = RAW.at(f"{RAW.observed}_to_expected", f"ratio{window.name}")
    selector = ", ".join(f"{name}=%q" for name in OF_CLASS)
    given = " ".join(f"$labels.{name}" for name in OF_CLASS)
    query = f"printf `{ratio}{{{selector}}} == %g` {given} $value | query"
    return f"{{{{ if {query} }}}}raw predictions{{{{ else }}}}posterior mass{{{{ end }}}}"


def _shifts(write: Writer) -> list[Alert]:
    who = "{{ $labels.model }}/{{ $labels.class }}"
    alerts = []
    for w in DRIFT:
        alerts += [
            write.alert(
                "ClassShareShifted", "ticket", _either(RAW, MASS, w), 15,
                "The share of a class is not what its priors imply.",
                f'{who}: {{{{ printf "%.2f" $value }}}} times the {_which(w)} that the deployment priors imply over '
                f"{w.name}, beyond chance.", w.name,
            ),
            write.alert(
                "ConfidenceShifted", "ticket", _doubt(w), 15,
                "The model is surer or less sure than on its holdout: images are unlike those it was tested on.",
                f'{{{{ $labels.model }}}}: the mean doubt is {{{{ printf "%.2f" $value }}}} times the expected '
                f"one over {w.name}, beyond chance.", w.name,
            ),
            write.alert(
                "DecisionsOffExpectation", "ticket", _decisions_alone(w), 15,
                "Labels or flags are not what the policy in force should give, although the class shares are.",
                f'{who}: {{{{ printf "%.2f" $value }}}} times what the policy should give over {w.name}, '
                "beyond chance.", w.name,
            ),
        ]  # fmt: skip
    return alerts


def _doubt(window: Window) -> str:
    c, expected = (CONFIDENCE.at(x, f"ratio{window.name}") for x in (CONFIDENCE.observed, CONFIDENCE.expected))
    ratio = f"(1 - {c}) / (1 - {expected} > 0)"
    return (
        f"(\n    {ratio} < {DOUBT_RATIO[0]:.4g}\n  or\n    {ratio} > {DOUBT_RATIO[1]:.4g}\n)\n"
        f"and\n{_beyond(CONFIDENCE, window, SCORE[window.name])}\n{_enough(window)}"
    )


def _decisions_alone(window: Window) -> str:
    either = _either(DECISIONS, FLAGS, window)
    return f"(\n{either}\n)\nunless on ({MODEL})\n{_either_beyond(window, CLEAR_SCORE)}"


def _prior_stale(write: Writer) -> Alert:
    ratio = f"model_class:equipoise_estimated_prevalence_to_prior:ratio{DAY.name}"
    return write.alert(
        "ConfiguredPriorStale", "ticket",
        f"(\n    {ratio} > {PRIOR_FACTOR:g}\n  or\n    {ratio} < {1 / PRIOR_FACTOR:g}\n)\n"
        f"and\n{_either_beyond(DAY, SCORE[DAY.name])}\n{_enough(DAY)}\nunless on ({MODEL})\n(\n{_doubt(DAY)}\n)",
        60, "The estimated prevalence of a class is far from its configured prior.",
        '{{ $labels.model }}/{{ $labels.class }}: estimated prevalence is {{ printf "%.2f" $value }} times the '
        "configured prior.",
    )  # fmt: skip


def _calibration(write: Writer) -> list[Alert]:
    w = WEEK.name
    return [
        write.alert(
            "CalibrationOff", "ticket",
            f"model:equipoise_ece:ratio{w} > {ECE}\nand\nmodel:equipoise_ece:zscore{w} > {ECE_SCORE}",
            60, "Probabilities are not what audited labels show.",
            f'{{{{ $labels.model }}}}: the calibration error of the last {w} is {{{{ printf "%.3f" $value }}}}, '
            "beyond chance.",
        ),
        write.alert(
            "FeedbackStalled", "ticket",
            f'{accepted(DAY)}{{result="accepted"}} == 0\nand\n{accepted(WEEK)}{{result="accepted"}} > 0\n'
            f"and on (job)\nsum without (model, model_version) ({answers(DAY)}) > 0",
            60, "True labels came in the last week, none in the last day.",
            "{{ $labels.job }} answers, and no label comes back: recall is judged on old labels only.",
        ),
    ]  # fmt: skip


def _operations(write: Writer) -> list[Alert]:
    return [
        write.alert(
            "PolicyNotPropagated", "ticket", f"{SKEW} > 0", 2, "Workers decide by different revisions of the policy.",
            "{{ $labels.model }}: the oldest revision in force is {{ $value }} behind the newest.",
        ),
        write.alert(
            "PolicyStoreDown", "ticket", f"min without ({REPLICAS}) (equipoise_store_up) == 0", 5,
            "The policy store does not answer.",
            "{{ $labels.model }}: predictions go on under the last known policy; changes and feedback answer 503.",
        ),
        write.alert(
            "AnswersDropped", "ticket", f"{DROPPED} > 0", 0, "Answers were given and never stored.",
            '{{ $labels.model }}: {{ printf "%.0f" $value }} answers of the last hour can get no feedback and '
            "enter no replay.",
        ),
        write.alert(
            "AuthFailures", "ticket", f"{REFUSED} > {AUTH_FAILURES_AN_HOUR}", 0,
            "Many requests are turned away for want of a token.",
            '{{ $labels.job }}: {{ printf "%.0f" $value }} requests in an hour, reason {{ $labels.reason }}.',
        ),
    ]  # fmt: skip
