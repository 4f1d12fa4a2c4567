"""Rules of quality: recall, precision and calibration from labels that came back, by the time they came.

Only audited labels count: ids that the service itself handed out, each weighted by 1 / its chance of being handed out.
Labels of reviewed flags would make every recall 1. Bounds are at 95%: Wilson's where weights are equal, else those of
the score test whose variance at a share r of the weight W is r (1 - r) ((1 - r) h + r m) / W, with h and m the mean
weights of hits and of misses (`decision.quality` has the reasons). Of n >= 20 images the upper one falls below a recall
of 0.99 that is kept up to once in eleven times; with half an image in its favour, the corrected one that pages, once in
27 (recalls of 0.8 to 0.99, exact, equal weights).
"""

from collections.abc import Callable

from deploy.promql import Group, Recording, increase, per_model
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
    called, other = (f"model_class:equipoise_feedback_audit_{side}:mean_weight{w}" for side in ("called", "other"))
    return [
        *counted,
        *_usual(called, other, w),
        *_share("recall", ("weight", "squared_weight"), (f"({called} or {other})", f"({other} or {called})"),
                f"model_class_design:equipoise_feedback_labels:increase{w}", w),
        *_share("precision", ("called_weight", "called_squared_weight"), (called, called),
                f"model_class_design:equipoise_feedback_called:increase{w}", w),
        *_promised(w),
        *_calibration(w),
    ]  # fmt: skip


_COUNTERS = {
    "result": ("feedback_items",),
    "model_class_design": ("feedback_labels", "feedback_called", "feedback_true_positives"),
    "model_class": (
        "feedback_audit_weight", "feedback_audit_squared_weight",
        "feedback_audit_true_positive_weight", "feedback_audit_true_positive_squared_weight",
        "feedback_audit_called_weight", "feedback_audit_called_squared_weight",
        "feedback_audit_targeted_weight", "feedback_audit_target_weight",
    ),
    "model_bin": ("calibration_weight", "calibration_confidence", "calibration_hits"),
}  # fmt: skip


def _audited(part: str, w: str) -> str:
    return f"model_class:equipoise_feedback_audit_{part}:increase{w}"


def _usual(called: str, other: str, w: str) -> list[Recording]:
    """The mean weight of what was called a class and of what was not; less than half an answer is none."""
    weight, squares = _audited("called_weight", w), _audited("called_squared_weight", w)
    whole = f"sum without (bin) (model_bin:equipoise_calibration_weight:increase{w})"
    all_squares = f"sum without (class) ({_audited('squared_weight', w)})"
    less, less_squares = per_model(weight, whole, "-"), per_model(squares, all_squares, "-")
    return [
        Recording(called, f"{squares} / ({weight} > 0.5)"),
        Recording(other, f"(\n{less_squares}\n)\n/ (\n{less}\n< -0.5\n)"),
    ]


def _share(name: str, of: tuple[str, str], usual: tuple[str, str], counts: str, w: str) -> list[Recording]:
    """An observed share with the number of equal images that it stands for, and its bounds.

    To the hits and to the misses that were seen comes one image each of the `usual` weight. A bound rests on the images
    at itself: found in two steps, from the share's own.
    """
    weight, rule = _audited(of[0], w), f"model_class:equipoise_observed_{name}"
    share, hit, miss = (f"{rule}:{part}{w}" for part in ("ratio", "hit_weight", "miss_weight"))
    count = f'sum without (design) ({counts}{{design="audit"}})'

    def images(at: str) -> str:
        return f"{weight} / ((1 - {at}) * {hit} + {at} * {miss}) < {count}\nor\n{count} and {weight} > 0"

    hits = f"{_audited('true_positive_weight', w)} / ({weight} > 0)"
    return [Recording(share, hits), *_mean_weights((hit, miss), of, usual, w), *_bounds(rule, share, images, w)]


def _mean_weights(names: tuple[str, str], of: tuple[str, str], usual: tuple[str, str], w: str) -> list[Recording]:
    """Of the hits and of the misses, with one image each of the `usual` weight."""
    weight, squares = (_audited(part, w) for part in of)
    hits, hit_squares = _audited("true_positive_weight", w), _audited("true_positive_squared_weight", w)
    sums = ((hits, hit_squares), (f"clamp_min({weight} - {hits}, 0)", f"clamp_min({squares} - {hit_squares}, 0)"))
    return [
        Recording(name, f"({of_squares} + {one} ^ 2)\n/ ({total} + {one})")
        for name, (total, of_squares), one in zip(names, sums, usual, strict=True)
    ]


def _bounds(rule: str, share: str, images: Callable[[str], str], w: str) -> list[Recording]:
    """The equal images that a share stands for, its two limits, and the upper one with half an image in its favour."""
    n = f"{rule}:images{w}"
    found = [Recording(n, images(share))]
    for side, sign in (("lower", "-"), ("upper", "+")):
        first, at = f"{rule}:wilson_{side}_start{w}", f"{rule}:images_{side}{w}"
        found += [Recording(first, wilson(share, n, sign)), Recording(at, images(first)),
                  Recording(f"{rule}:wilson_{side}{w}", wilson(share, at, sign))]  # fmt: skip
    upper = f"{rule}:images_upper{w}"
    favoured = wilson(f"clamp_max({share} + 0.5 / {upper}, 1)", upper, "+")
    return [*found, Recording(f"{rule}:wilson_upper_corrected{w}", favoured)]


def _promised(w: str) -> list[Recording]:
    """The mean recall that the policies of the labelled answers promised, and the share of them that had one."""
    rule, targeted = "model_class:equipoise_observed_recall", _audited("targeted_weight", w)
    return [
        Recording(f"{rule}:target{w}", f"{_audited('target_weight', w)} / ({targeted} > 0)"),
        Recording(f"{rule}:targeted{w}", f"{targeted} / ({_audited('weight', w)} > 0)"),
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
