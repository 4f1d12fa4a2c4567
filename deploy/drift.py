"""Rules of drift: what was answered against what the holdout lets one expect at the priors in force.

For an observed sum c, its expectation E and variance V over n answers, and a reference that stands for m answers:
a = V / E, z = 2 (sqrt(c/a + 3/8) - sqrt(E/a + 3/8)) / sqrt(1 + n/m): the root steadies the variance of counts, a is
what a sum of answers varies less, or more, than a Poisson count, and n/m is the reference's own error. E and V are
counted per answer under the policy that decided it, so that neither a site's priors nor a change of policy is drift.
"""

from dataclasses import dataclass

from deploy.promql import Recording, greatest, increase, per_model
from deploy.windows import Timing, Window

FLOOR = "1e-300"
"""Keeps 0 log 0 at 0."""
NOTHING = "1e-6"
"""Of a count: below it, what comes is counted as Poisson."""


@dataclass(frozen=True)
class Quantity:
    """What one score is about: the counter, its expectation and variance, and the reference's quantity."""

    level: str
    observed: str
    expected: str
    variance: str
    quantity: str

    def at(self, metric: str, operation: str) -> str:
        """The name of a rule about it."""
        return f"{self.level}:equipoise_{metric}:{operation}"

    @property
    def images(self) -> str:
        """The rule that says for how many answers the reference stands."""
        return self.at(f"reference_{self.quantity}_images", "max")


RAW = Quantity("model_class", "raw_predictions", "expected_raw_predictions", "expected_raw_prediction_variance", "raw")
DECISIONS = Quantity("model_class", "decisions", "expected_decisions", "expected_decision_variance", "decision")
FLAGS = Quantity("model_class", "flags", "expected_flags", "expected_flag_variance", "flag")
MASS = Quantity("model_class", "posterior_mass", "expected_posterior_mass", "expected_posterior_mass_variance", "mass")
ABSTENTIONS = Quantity("model", "abstentions", "expected_abstentions", "expected_abstention_variance", "abstention")
CONFIDENCE = Quantity("model", "confidence", "expected_confidence", "expected_confidence_variance", "confidence")
QUANTITIES = (RAW, DECISIONS, FLAGS, MASS, ABSTENTIONS, CONFIDENCE)


def answers(window: Window) -> str:
    """The rule that holds n, the answers of a window."""
    return f"model:equipoise_raw_predictions:increase{window.name}"


def reference() -> list[Recording]:
    """For how many answers the reference stands: the same in every window."""
    gauge = "equipoise_reference_effective_images"
    return [Recording(of.images, greatest(gauge, f'{{quantity="{of.quantity}"}}', ", quantity")) for of in QUANTITIES]


def rules(window: Window, timing: Timing) -> list[Recording]:
    """Those of a window, each after what it reads."""
    found = [*_sums(RAW, window, timing), Recording(answers(window), f"sum without (class) ({_sum(RAW, window)})")]
    for of in QUANTITIES:
        found += [*([] if of is RAW else _sums(of, window, timing)), *_score(of, window), *_ratios(of, window)]
    return [*found, *_psi(window), _jensen_shannon(window), *_by_probabilities(window, timing)]


def _sum(of: Quantity, window: Window) -> str:
    return of.at(of.observed, f"increase{window.name}")


def _expected(of: Quantity, window: Window) -> str:
    return of.at(of.expected, f"increase{window.name}")


def _sums(of: Quantity, window: Window, timing: Timing) -> list[Recording]:
    counters = {of.observed: "confidence_sum" if of is CONFIDENCE else f"{of.observed}_total"}
    counters |= {name: f"{name}_total" for name in (of.expected, of.variance)}
    return [
        Recording(of.at(name, f"increase{window.name}"), increase(f"equipoise_{counter}", timing.range(window)))
        for name, counter in counters.items()
    ]


def _score(of: Quantity, window: Window) -> list[Recording]:
    c, expected, n = _sum(of, window), _expected(of, window), answers(window)
    variance = of.at(of.variance, f"increase{window.name}")
    dispersion = of.at(of.observed, f"dispersion{window.name}")
    weight = (
        f"1 / {of.images} * ignoring (class) group_left () {n}" if of.level == "model_class" else f"{n} / {of.images}"
    )
    return [
        Recording(dispersion, f"({variance} + {NOTHING}) / ({expected} + {NOTHING})"),
        Recording(
            of.at(of.observed, f"zscore{window.name}"),
            f"2 * (\n    sqrt({c} / {dispersion} + 0.375)\n  - sqrt({expected} / {dispersion} + 0.375)\n)\n"
            f"/ sqrt(1 + {weight})",
        ),
    ]


def _ratios(of: Quantity, window: Window) -> list[Recording]:
    """Observed and expected share of the answers (of confidence: the mean), and the one over the other."""
    c, expected, n = _sum(of, window), _expected(of, window), answers(window)
    shares = [(of.observed, c), (of.expected, expected)]
    return [
        *(Recording(of.at(name, f"ratio{window.name}"), _share(of, value, n)) for name, value in shares),
        Recording(  # infinite where what is never expected comes
            of.at(f"{of.observed}_to_expected", f"ratio{window.name}"),
            f"{c} / ({expected} > 0)\nor\n({c} > 0) / {expected}",
        ),
    ]


def _share(of: Quantity, value: str, n: str) -> str:
    return per_model(value, f"({n} > 0)") if of.level == "model_class" else f"{value} / ({n} > 0)"


def _psi(window: Window) -> list[Recording]:
    """PSI of smoothed shares, and its z: PSI / s is chi-squared with K - 1 degrees (Yurdakul and Naranjo 2020)."""
    w, n = window.name, answers(window)
    count = f"count without (class) ({_sum(RAW, window)})"
    smoothed = {name: RAW.at(name, f"smoothed_ratio{w}") for name in (RAW.observed, RAW.expected)}
    q, p = smoothed.values()
    psi, scale, freedom = (f"model:equipoise_raw_predictions:{part}{w}" for part in ("psi", "psi_scale", "psi_freedom"))
    share = RAW.at(RAW.expected, f"ratio{w}")
    spread = f"2 / (9 * {freedom})"
    return [
        *(
            Recording(rule, per_model(f"({RAW.at(name, f'increase{w}')} + 0.5)", f"({n} + 0.5 * {count})"))
            for name, rule in smoothed.items()
        ),
        Recording(psi, f"sum without (class) (({q} - {p}) * ln({q} / {p}))"),
        Recording(freedom, f"{count} - 1"),
        Recording(
            scale,
            f"sum without (class) (\n  (1 - {share})\n* (1 / {RAW.images} + ignoring (class) group_left () 1 / "
            f"({n} > 0))\n)\n"
            f"/ ({freedom} > 0)",
        ),
        Recording(  # Wilson and Hilferty 1931
            f"model:equipoise_raw_predictions:psi_zscore{w}",
            f"(({psi} / {scale} / {freedom}) ^ (1 / 3) - (1 - {spread}))\n/ sqrt({spread})",
        ),
    ]


def _jensen_shannon(window: Window) -> Recording:
    """In bits: 0 where the shares agree, 1 where they have no class in common."""
    q, p = (RAW.at(name, f"ratio{window.name}") for name in (RAW.observed, RAW.expected))

    def half(share: str) -> str:
        return f"{share} * log2(clamp_min(2 * {share}, {FLOOR}) / clamp_min({p} + {q}, {FLOOR}))"

    return Recording(
        f"model:equipoise_raw_predictions:js_bits{window.name}",
        f"0.5 * sum without (class) (\n  {half(q)}\n+ {half(p)}\n)",
    )


def _by_probabilities(window: Window, timing: Timing) -> list[Recording]:
    """Precision and recall as the answers' own probabilities give them: right while the deployment priors are."""
    w, mass = window.name, _sum(MASS, window)
    rules = []
    for verb, one, of in (("decided", "decision", DECISIONS), ("flagged", "flag", FLAGS)):
        own = f"model_class:equipoise_{verb}_posterior_mass:increase{w}"
        rules += [
            Recording(own, increase(f"equipoise_{verb}_posterior_mass_total", timing.range(window))),
            Recording(f"model_class:equipoise_estimated_{one}_precision:ratio{w}", f"{own} / ({_sum(of, window)} > 0)"),
            Recording(f"model_class:equipoise_estimated_{one}_recall:ratio{w}", f"{own} / ({mass} > 0)"),
        ]
    return rules
