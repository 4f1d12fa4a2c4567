"""Rules of prevalence: the class mix that raw predictions imply, beside the priors, and what follows for flags.

Black-box shift estimation (Lipton 2018) where the service hands out the inverse confusion matrix, that is up to 20
classes; one class against the rest (Rogan and Gladen 1978) else. Both rest on label shift: images of a class look as
they did.
"""

from deploy.drift import FLAGS, RAW
from deploy.promql import Recording, greatest, per_model
from deploy.windows import DRIFT, Window

PRIOR = "model_class:equipoise_policy_prior_ratio:max"
FLAG_RECALL = "model_class:equipoise_reference_flag_recall_ratio:max"


def estimated(window: Window) -> str:
    """The rule that holds a window's estimate."""
    return f"model_class:equipoise_estimated_prevalence:ratio{window.name}"


def rules(window: Window) -> list[Recording]:
    """Those of a window; they read the drift of the same window."""
    share, w = RAW.at(RAW.observed, f"ratio{window.name}"), window.name
    bbse = f"model_class:equipoise_bbse_prevalence:clamped{w}"
    recall, fpr = (greatest(f"equipoise_reference_raw_{name}_ratio") for name in ("recall", "fpr"))
    flagged = FLAGS.at(FLAGS.observed, f"ratio{w}")
    gauges = [Recording(PRIOR, greatest("equipoise_policy_prior_ratio")),
              Recording(FLAG_RECALL, greatest("equipoise_reference_flag_recall_ratio"))]  # fmt: skip
    return [
        *(gauges if window is DRIFT[0] else []),
        Recording(bbse, _solved(share)),
        Recording(  # (q - f) / (r - f), where a raw prediction of the class says anything about the class
            f"model_class:equipoise_rogan_gladen_prevalence:ratio{w}",
            f"clamp(\n    ({share} - {fpr})\n  / ({recall} - {fpr} > 0),\n  0, 1\n)",
        ),
        Recording(
            estimated(window),
            f"{per_model(bbse, f'(sum without (class) ({bbse}) > 0)')}\n"
            f"or\nmodel_class:equipoise_rogan_gladen_prevalence:ratio{w}",
        ),
        Recording(
            f"model_class:equipoise_estimated_prevalence_to_prior:ratio{w}", f"{estimated(window)} / ({PRIOR} > 0)"
        ),
        Recording(  # Bayes: a class's recall stays under label shift, its precision moves with its share
            f"model_class:equipoise_label_shift_flag_precision:ratio{w}",
            f"clamp_max({estimated(window)} * {FLAG_RECALL} / ({flagged} > 0), 1)",
        ),
    ]


def _solved(share: str) -> str:
    """The inverse confusion matrix times the raw shares, no class below 0."""
    inverse = greatest("equipoise_bbse_inverse")
    product = f"sum without (class) (\n    {inverse}\n  * ignoring (true_class) group_left ()\n    {share}\n)"
    renamed = f'label_replace(\n  clamp_min({product}, 0),\n  "class", "$1", "true_class", "(.*)"\n)'
    return f"sum without (true_class) ({renamed})"
