"""Every recording rule once more in NumPy, from the exposed series: what promtool and Prometheus must agree with.

What a rule's filter leaves out is NaN here, and left out of the rules.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy.special import rel_entr
from scipy.stats import norm

from tests.deploy.replicas import JOB, Exposed, Labels, increase, merged

SECONDS = {"5m": 300, "1h": 3600, "24h": 86_400, "7d": 604_800}
RULES = dict[str, dict[Labels, float]]
Pair = tuple[np.ndarray, np.ndarray]
PARTS = ("weight", "squared_weight", "true_positive_weight", "true_positive_squared_weight",
         "called_weight", "called_squared_weight", "targeted_weight", "target_weight")  # fmt: skip
TRIPLES = {
    "raw_predictions": ("raw_predictions", "raw_prediction", "raw"),
    "decisions": ("decisions", "decision", "decision"),
    "flags": ("flags", "flag", "flag"),
    "posterior_mass": ("posterior_mass", "posterior_mass", "mass"),
    "abstentions": ("abstentions", "abstention", "abstention"),
    "confidence": ("confidence", "confidence", "confidence"),
}


class Reading:
    """What Prometheus would read at a time: increases and gauges over all replicas; `seconds` of each window."""

    def __init__(self, series: Iterable[Exposed], end: float, at: float, seconds: Mapping[str, float]) -> None:
        self._merged, self._end, self._at, self._seconds = merged(series), end, at, seconds

    def increases(self, name: str, window: str) -> dict[Labels, float]:
        start = self._at - self._seconds[window]
        found = {}
        for (metric, of), replicas in self._merged.items():
            if metric == name:
                every = [increase(one.times(self._end), one.values(), start, self._at) for one in replicas]
                if known := [value for value in every if not np.isnan(value)]:
                    found[of] = sum(known)
        return found

    def gauges(self, name: str, choose: Callable[..., float] = max) -> dict[Labels, float]:
        found = {}
        for (metric, of), replicas in self._merged.items():
            if metric == name:
                every = [one.values()[one.times(self._end) <= self._at] for one in replicas]
                if known := [values[-1] for values in every if len(values)]:
                    found[of] = choose(known)
        return found


def _pick(found: dict[Labels, float], **wanted: str) -> dict[Labels, float]:
    return {of: value for of, value in found.items() if wanted.items() <= dict(of).items()}


def _vector(found: dict[Labels, float], key: str, names: list[str], **wanted: str) -> np.ndarray:
    """Values by a label's names; NaN where there is none. A label without a value is none."""
    by_name = {dict(of).get(key, ""): value for of, value in _pick(found, **wanted).items()}
    return np.array([by_name.get(name, np.nan) for name in names])


def dispersion(variance: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (variance + 1e-6) / (expected + 1e-6)


def score(c: np.ndarray, expected: np.ndarray, variance: np.ndarray, n: float, m: np.ndarray) -> np.ndarray:
    a = dispersion(variance, expected)
    return 2 * (np.sqrt(c / a + 3 / 8) - np.sqrt(expected / a + 3 / 8)) / np.sqrt(1 + n / m)


def wilson(p: np.ndarray, n: np.ndarray, side: int) -> np.ndarray:
    z = norm.ppf(0.975)
    return (p + z**2 / (2 * n) + side * z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)


def weighted_share(of: Pair, hits: Pair, usual: Pair, count: np.ndarray) -> dict[str, np.ndarray]:
    """A share of weights with its bounds, by part of its rules' names; pairs are sums of weights and of squares."""
    (total, squares), (hit, hit2) = of, hits
    misses, misses2 = np.maximum(total - hit, 0), np.maximum(squares - hit2, 0)
    h, m = (hit2 + usual[0] ** 2) / (hit + usual[0]), (misses2 + usual[1] ** 2) / (misses + usual[1])
    p = hit / total

    def images(r: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.where(total > 0, np.fmin(count, total / ((1 - r) * h + r * m)), np.nan)
        return found

    found = {"ratio": p, "hit_weight": h, "miss_weight": m, "images": images(p)}
    for side, sign in (("lower", -1), ("upper", 1)):
        first = wilson(p, images(p), sign)
        n = images(first)
        found |= {f"wilson_{side}_start": first, f"images_{side}": n, f"wilson_{side}": wilson(p, n, sign)}
    return found | {"wilson_upper_corrected": wilson(np.minimum(p + 0.5 / n, 1), n, 1)}


class Recomputed:
    """All rules of the models of a world at a time, `rules[record][labels]`."""

    def __init__(
        self, series: Iterable[Exposed], end: float, at: float, seconds: Mapping[str, float] = SECONDS
    ) -> None:
        self.read = Reading(series, end, at, seconds)
        self.rules: RULES = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for of in self.read.gauges("equipoise_model_info"):
                one = _Model(self, dict(of))
                for window in ("1h", "24h"):
                    one.drift(window)
                    one.prevalence(window)
                for window in ("24h", "7d"):
                    one.quality(window)
            self._operations()

    def put(self, record: str, values: np.ndarray | float, of: list[dict[str, str]]) -> None:
        for labels, value in zip(of, np.atleast_1d(values), strict=True):
            if not np.isnan(value):
                self.rules.setdefault(record, {})[tuple(sorted(({"job": JOB} | labels).items()))] = float(value)

    def copy(self, record: str, found: dict[Labels, float]) -> None:
        self.rules.setdefault(record, {}).update(found)

    def _operations(self) -> None:
        read = self.read
        for window in ("24h", "7d"):
            self.copy(f"result:equipoise_feedback_items:increase{window}",
                      read.increases("equipoise_feedback_items_total", window))  # fmt: skip
        self.copy("model:equipoise_answers_dropped:increase1h", read.increases("equipoise_answers_dropped_total", "1h"))
        self.copy("reason:equipoise_auth_failures:increase1h", read.increases("equipoise_auth_failures_total", "1h"))
        requests = read.increases("equipoise_requests_total", "5m")
        if requests:
            total, failed = (
                sum(v for of, v in requests.items() if dict(of)["status"] >= least) for least in ("", "500")
            )
            self.put("job:equipoise_requests:increase5m", total, [{}])
            self.put("job:equipoise_requests:error_ratio5m", failed / total, [{}])
        newest = _pick(read.gauges("equipoise_worker_policy_revision"), bound="newest")
        oldest = _pick(read.gauges("equipoise_worker_policy_revision", min), bound="oldest")
        for of, value in newest.items():
            model = {key: x for key, x in of if key != "bound"}
            self.put("model:equipoise_policy_revision:skew", value - min(_pick(oldest, **model).values()), [model])


class _Model:
    """The rules of one model."""

    def __init__(self, to: Recomputed, info: dict[str, str]) -> None:
        self._to, self._name = to, info["model"]
        priors = _pick(to.read.gauges("equipoise_policy_prior_ratio"), model=self._name)
        self._classes = [dict(of)["class"] for of in priors]
        self._of = [{key: info[key] for key in ("model", "model_version")}]
        self._of_class = [self._of[0] | {"class": name} for name in self._classes]

    def _inc(self, name: str, window: str, key: str = "class") -> np.ndarray:
        names = self._classes if key == "class" else [self._name]
        return _vector(self._to.read.increases(f"equipoise_{name}", window), key, names, model=self._name)

    def _gauge(self, name: str, **wanted: str) -> np.ndarray:
        return _vector(self._to.read.gauges(f"equipoise_{name}"), "class", self._classes, model=self._name, **wanted)

    def _put(self, record: str, values: np.ndarray | float) -> None:
        self._to.put(record, values, self._of_class if record.startswith("model_class:") else self._of)

    def drift(self, w: str) -> None:
        n = float(self._inc("raw_predictions_total", w).sum())
        self._put(f"model:equipoise_raw_predictions:increase{w}", n)
        for name, (plural, singular, quantity) in TRIPLES.items():
            level, key = ("model", "model") if name in ("abstentions", "confidence") else ("model_class", "class")
            c = self._inc("confidence_sum" if name == "confidence" else f"{name}_total", w, key)
            expected = self._inc(f"expected_{plural}_total", w, key)
            variance = self._inc(f"expected_{singular}_variance_total", w, key)
            m = self._reference(quantity, level)
            self._put(f"{level}:equipoise_reference_{quantity}_images:max", m)
            for record, values in (
                (name, c), (f"expected_{plural}", expected), (f"expected_{singular}_variance", variance),
            ):  # fmt: skip
                self._put(f"{level}:equipoise_{record}:increase{w}", values)
            self._put(f"{level}:equipoise_{name}:dispersion{w}", dispersion(variance, expected))
            self._put(f"{level}:equipoise_{name}:zscore{w}", score(c, expected, variance, n, m))
            self._put(f"{level}:equipoise_{name}:ratio{w}", c / n)
            self._put(f"{level}:equipoise_expected_{plural}:ratio{w}", expected / n)
            self._put(f"{level}:equipoise_{name}_to_expected:ratio{w}", c / expected)
        self._divergences(w, n)
        for verb, one, plural in (("decided", "decision", "decisions"), ("flagged", "flag", "flags")):
            own = self._inc(f"{verb}_posterior_mass_total", w)
            self._put(f"model_class:equipoise_{verb}_posterior_mass:increase{w}", own)
            self._put(
                f"model_class:equipoise_estimated_{one}_precision:ratio{w}", own / self._inc(f"{plural}_total", w)
            )
            self._put(
                f"model_class:equipoise_estimated_{one}_recall:ratio{w}", own / self._inc("posterior_mass_total", w)
            )

    def _reference(self, quantity: str, level: str) -> np.ndarray:
        if level == "model_class":
            return self._gauge("reference_effective_images", quantity=quantity)
        found = self._to.read.gauges("equipoise_reference_effective_images")
        return _vector(found, "class", [""], model=self._name, quantity=quantity)

    def _divergences(self, w: str, n: float) -> None:
        c, expected = self._inc("raw_predictions_total", w), self._inc("expected_raw_predictions_total", w)
        k, m = len(c), self._reference("raw", "model_class")
        q, p = ((x + 0.5) / (n + k / 2) for x in (c, expected))
        self._put(f"model_class:equipoise_raw_predictions:smoothed_ratio{w}", q)
        self._put(f"model_class:equipoise_expected_raw_predictions:smoothed_ratio{w}", p)
        psi, s = np.sum((q - p) * np.log(q / p)), np.sum((1 - expected / n) * (1 / n + 1 / m)) / (k - 1)
        self._put(f"model:equipoise_raw_predictions:psi{w}", psi)
        self._put(f"model:equipoise_raw_predictions:psi_freedom{w}", k - 1)
        self._put(f"model:equipoise_raw_predictions:psi_scale{w}", s)
        spread = 2 / (9 * (k - 1))
        self._put(f"model:equipoise_raw_predictions:psi_zscore{w}",
                  ((psi / s / (k - 1)) ** (1 / 3) - (1 - spread)) / np.sqrt(spread))  # fmt: skip
        q, p = c / n, expected / n
        js = 0.5 * np.sum(rel_entr(q, (p + q) / 2) + rel_entr(p, (p + q) / 2)) / np.log(2)
        self._put(f"model:equipoise_raw_predictions:js_bits{w}", js)

    def prevalence(self, w: str) -> None:
        c, prior = self._inc("raw_predictions_total", w), self._gauge("policy_prior_ratio")
        share, recall = c / c.sum(), self._gauge("reference_flag_recall_ratio")
        self._put("model_class:equipoise_policy_prior_ratio:max", prior)
        self._put("model_class:equipoise_reference_flag_recall_ratio:max", recall)
        fpr = self._gauge("reference_raw_fpr_ratio")
        apart = self._gauge("reference_raw_recall_ratio") - fpr
        estimate = np.clip((share - fpr) / np.where(apart > 0, apart, np.nan), 0, 1)
        self._put(f"model_class:equipoise_rogan_gladen_prevalence:ratio{w}", estimate)
        found = _pick(self._to.read.gauges("equipoise_bbse_inverse"), model=self._name)
        if found:
            inverse = {(dict(of)["true_class"], dict(of)["class"]): value for of, value in found.items()}
            matrix = np.array([[inverse[j, i] for i in self._classes] for j in self._classes])
            solved = np.maximum(matrix @ share, 0)
            self._put(f"model_class:equipoise_bbse_prevalence:clamped{w}", solved)
            estimate = solved / solved.sum()
        flags = self._inc("flags_total", w)
        flagged = np.where(flags > 0, flags, np.nan) / c.sum()
        self._put(f"model_class:equipoise_estimated_prevalence:ratio{w}", estimate)
        self._put(f"model_class:equipoise_estimated_prevalence_to_prior:ratio{w}", estimate / prior)
        self._put(
            f"model_class:equipoise_label_shift_flag_precision:ratio{w}", np.minimum(estimate * recall / flagged, 1)
        )

    def quality(self, w: str) -> None:
        read = self._to.read
        for name in ("feedback_labels", "feedback_called", "feedback_true_positives"):
            self._to.copy(f"model_class_design:equipoise_{name}:increase{w}",
                          _pick(read.increases(f"equipoise_{name}_total", w), model=self._name))  # fmt: skip
        audited = {}
        for part in PARTS:
            audited[part] = self._inc(f"feedback_audit_{part}_total", w)
            self._put(f"model_class:equipoise_feedback_audit_{part}:increase{w}", audited[part])
        self._shares(w, audited)
        targeted = np.where(audited["targeted_weight"] > 0, audited["targeted_weight"], np.nan)
        self._put(f"model_class:equipoise_observed_recall:target{w}", audited["target_weight"] / targeted)
        share = np.where(audited["weight"] > 0, audited["targeted_weight"] / audited["weight"], np.nan)
        self._put(f"model_class:equipoise_observed_recall:targeted{w}", share)
        self._calibration(w, float(audited["squared_weight"].sum()))

    def _shares(self, w: str, audited: dict[str, np.ndarray]) -> None:
        read, own = self._to.read, {"model": self._name}
        whole = sum(_pick(read.increases("equipoise_calibration_weight_total", w), **own).values())
        a, a2 = audited["called_weight"], audited["called_squared_weight"]
        b, b2 = whole - a, audited["squared_weight"].sum() - a2
        called, other = np.where(a > 0.5, a2 / a, np.nan), np.where(b > 0.5, b2 / b, np.nan)
        for side, weight in (("called", called), ("other", other)):
            self._put(f"model_class:equipoise_feedback_audit_{side}:mean_weight{w}", weight)
        called_or, other_or = (np.where(np.isnan(x), y, x) for x, y in ((called, other), (other, called)))
        hits, hits2 = audited["true_positive_weight"], audited["true_positive_squared_weight"]
        for name, prefix, usual, counter in (
            ("recall", "", (called_or, other_or), "feedback_labels_total"),
            ("precision", "called_", (called, called), "feedback_called_total"),
        ):
            total, squares = audited[f"{prefix}weight"], audited[f"{prefix}squared_weight"]
            counts = read.increases(f"equipoise_{counter}", w)
            count = _vector(counts, "class", self._classes, design="audit", **own)
            for part, values in weighted_share((total, squares), (hits, hits2), usual, count).items():
                self._put(f"model_class:equipoise_observed_{name}:{part}{w}", values)

    def _calibration(self, w: str, squares: float) -> None:
        sums = {}
        for part in ("weight", "confidence", "hits"):
            found = _pick(self._to.read.increases(f"equipoise_calibration_{part}_total", w), model=self._name)
            self._to.copy(f"model_bin:equipoise_calibration_{part}:increase{w}", found)
            sums[part] = np.array([found[key] for key in sorted(found)])
        total = sums["weight"].sum()
        ece = np.abs(sums["confidence"] - sums["hits"]).sum() / total
        p = sums["confidence"] / sums["weight"]
        deviations = np.sqrt(sums["weight"] * p * (1 - p) * squares / total) / total  # of each bin's signed error
        deviations = deviations[sums["weight"] > 0] if total > 0 else np.array([np.nan])
        mean, deviation = np.sqrt(2 / np.pi) * deviations.sum(), np.sqrt((1 - 2 / np.pi) * (deviations**2).sum())
        self._put(f"model:equipoise_ece:ratio{w}", ece)
        self._put(f"model:equipoise_ece:chance_mean{w}", mean)
        self._put(f"model:equipoise_ece:chance_stddev{w}", deviation)
        self._put(f"model:equipoise_ece:zscore{w}", (ece - mean) / deviation if deviation > 0 else np.nan)
