"""Rules of quality: recall, precision and calibration from labels that came back, by the time they came.

Only audited labels count: ids that the service itself handed out, each weighted by 1 / its chance of being handed out.
Labels of reviewed flags would make every recall 1. Bounds are Wilson's at 95% for the effective number of images,
(sum w)^2 / sum w^2. Of n >= 20 images the upper one falls below a recall of 0.99 that is kept up to once in eleven
times; with half an image in its favour, the corrected one that pages, once in 27 (recalls of 0.8 to 0.99, exact).
"""

from deploy.promql import Group, Recording, increase
from deploy.windows import FEEDBACK, Timing, Window

Z = 1.959963984540054
MEAN_SQUARED, MEAN = 0.6366197723675814, 0.7978845608028654
"""(E|N|)^2 = 2/pi and E|N| of a standard normal."""


def groups(timing: Timing) -> list[Group]:
    """One group a window."""
    return [Group(f"equipoise-quality-{w.name}", timing.interval(w), _window(w, timing)) for w in FEEDBACK]


def accepted(window: Window) -> str:
    """The rule that holds a window's feedback by its result."""
    return f"result:equipoise_feedback_items:increase{window.name}"


def _window(window: Window, timing: Timing) -> list[Recording]:
    w, span = window.name, timing.range(window)
    counted = [
        Recording(f"{level}:equipoise_{name}:increase{w}", increase(f"equipoise_{name}_total", span))
        for level, names in _COUNTERS.items() for name in names
    ]  # fmt: skip
    return [*counted, *_share("recall", "weight", "squared_weight", w),
            *_share("precision", "called_weight", "called_squared_weight", w), *_calibration(w)]  # fmt: skip


_COUNTERS = {
    "result": ("feedback_items",),
    "model_class_design": ("feedback_labels", "feedback_called", "feedback_true_positives"),
    "model_class": (
        "feedback_audit_weight", "feedback_audit_squared_weight", "feedback_audit_true_positive_weight",
        "feedback_audit_called_weight", "feedback_audit_called_squared_weight",
    ),
    "model_bin": ("calibration_weight", "calibration_confidence", "calibration_hits"),
}  # fmt: skip


def _share(name: str, of: str, squares: str, w: str) -> list[Recording]:
    """An observed share with its effective number of images and Wilson's bounds."""
    hits, weight, squared = (
        f"model_class:equipoise_feedback_audit_{part}:increase{w}" for part in ("true_positive_weight", of, squares)
    )
    share, n = (f"model_class:equipoise_observed_{name}:{part}{w}" for part in ("ratio", "images"))
    return [
        Recording(n, f"{weight} ^ 2 / ({squared} > 0)"),
        Recording(share, f"{hits} / ({weight} > 0)"),
        *(
            Recording(f"model_class:equipoise_observed_{name}:wilson_{side}{w}", wilson(share, n, sign))
            for side, sign in (("lower", "-"), ("upper", "+"))
        ),
        Recording(
            f"model_class:equipoise_observed_{name}:wilson_upper_corrected{w}",
            wilson(f"clamp_max({share} + 0.5 / {n}, 1)", n, "+"),
        ),
    ]


def wilson(share: str, n: str, sign: str) -> str:
    """A limit of a share of n images at 95% (Wilson 1927); `sign` is - or +."""
    return (
        f"(\n    {share}\n  + {Z**2 / 2!r} / {n}\n"
        f"  {sign} {Z!r} * sqrt(({share} * (1 - {share}) + {Z**2 / 4!r} / {n}) / {n})\n)\n/ (1 + {Z**2!r} / {n})"
    )


def _calibration(w: str) -> list[Recording]:
    """Expected calibration error, and its score against what labels as many give a perfectly calibrated model.

    Such a model's error in a bin is normal with variance p (1 - p) / n, its absolute value sqrt(2 / pi) of the
    deviation on average.
    """
    weight, confidence, hits = (
        f"model_bin:equipoise_calibration_{x}:increase{w}" for x in ("weight", "confidence", "hits")
    )
    total = f"(sum without (bin) ({weight}) > 0)"
    squares = f"sum without (class) (model_class:equipoise_feedback_audit_squared_weight:increase{w})"
    mean, deviation = (f"model:equipoise_ece:chance_{part}{w}" for part in ("mean", "stddev"))
    variance = f"clamp_min({confidence} * (1 - {confidence} / ({weight} > 0)), 0)"
    return [
        Recording(f"model:equipoise_ece:ratio{w}", f"sum without (bin) (abs({confidence} - {hits})) / {total}"),
        Recording(mean, f"{MEAN!r} * sum without (bin) (sqrt({variance}))\n* sqrt({squares}) / {total} ^ 1.5"),
        Recording(
            deviation,
            f"sqrt({1 - MEAN_SQUARED!r} * sum without (bin) ({variance}))\n* sqrt({squares}) / {total} ^ 1.5",
        ),
        Recording(f"model:equipoise_ece:zscore{w}", f"(model:equipoise_ece:ratio{w} - {mean}) / ({deviation} > 0)"),
    ]
