"""What was sent to real services, and what they must have counted of it: computed from the images with decision/."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from decision import Bundle, Decisions, Policy, expectation, parse_policy
from tests.conftest import holdout, png
from tests.service.conftest import Server
from tests.service.test_drift import logits_of, pixels_of

Sums = Counter[tuple[str, str]]
"""By metric, without its prefix, and class or whatever else tells its series apart; "" where nothing does."""
NAMES = (("raw_predictions", "raw_prediction"), ("decisions", "decision"), ("flags", "flag"),
         ("posterior_mass", "posterior_mass"))  # fmt: skip
DESIGNS = ("audit", "review")
BINS = np.arange(1, 11) / 10


@dataclass(frozen=True)
class Sent:
    """Images `(n, 4, 6, 3)` decided by one policy, their true classes `(n,)`, and the answers."""

    policy: dict[str, Any]
    pixels: np.ndarray
    truth: np.ndarray
    answers: Sequence[dict[str, Any]]

    def decided(self, bundle: Bundle) -> tuple[Policy, np.ndarray, Decisions]:
        """The policy, the raw predictions `(n,)`, and what it decides."""
        policy = bundle.policy(parse_policy(self.policy))
        z = policy.calibration.logits(logits_of(self.pixels))
        return policy, z.argmax(axis=1), policy.decide_calibrated(z)


def send(server: Server, policy: dict[str, Any], n: int, seed: int, priors: np.ndarray) -> Sent:
    """Held-out images drawn by class, over several connections so that each worker gets some."""
    known, rng = holdout(), np.random.default_rng(seed)
    chosen = [int(rng.choice(np.flatnonzero(known.labels == k))) for k in rng.choice(3, n, p=priors)]
    pixels, answers = pixels_of(known.logits[chosen]), []
    for part in np.array_split(pixels, 8):
        with httpx.Client(base_url=server.url, timeout=30, headers={"content-type": "image/png"}) as client:
            answers += [client.post("/predict", content=png(one)).raise_for_status().json() for one in part]
    return Sent(policy, pixels, known.labels[chosen], answers)


def counted(bundle: Bundle, every: Iterable[Sent]) -> Sums:
    """What /metrics must have of the answers."""
    sums: Sums = Counter()
    for sent in every:
        policy, raw, d = sent.decided(bundle)
        n, k, labelled = len(raw), len(bundle.classes), d.labels[:, None] == np.arange(len(bundle.classes))
        found, p = expectation(bundle, policy), d.probabilities
        by_class = {
            "raw_predictions": np.bincount(raw, minlength=k), "decisions": labelled.sum(axis=0),
            "flags": d.flags.sum(axis=0), "posterior_mass": p.sum(axis=0),
            "decided_posterior_mass": (p * labelled).sum(axis=0), "flagged_posterior_mass": (p * d.flags).sum(axis=0),
        }  # fmt: skip
        for i, (many, one) in enumerate(NAMES):
            by_class |= {f"expected_{many}": n * found.mean[i], f"expected_{one}_variance": n * found.variance[i]}
        for name, values in by_class.items():
            sums.update({(f"{name}_total", bundle.classes[i]): float(values[i]) for i in range(k)})
        sums.update({
            ("abstentions_total", ""): float((d.labels < 0).sum()), ("confidence_sum", ""): float(p.max(axis=1).sum()),
            ("confidence_count", ""): float(n),
            **{(f"expected_{many}_total", ""): n * float(of.mean) for many, of in
               (("abstentions", found.abstention), ("confidence", found.confidence))},
            **{(f"expected_{one}_variance_total", ""): n * float(of.variance) for one, of in
               (("abstention", found.abstention), ("confidence", found.confidence))},
        })  # fmt: skip
    return sums


def labelled(bundle: Bundle, every: Iterable[Sent], weights: dict[str, float], reviewed: set[str]) -> Sums:
    """What it must have of labels: those of audited ids with the `weights` they were drawn by, and of reviewed ones."""
    sums: Sums = Counter()
    for sent in every:
        policy, _, d = sent.decided(bundle)
        promised = sent.policy["rule"].get("targets", {})
        called = np.where(policy.rule.can_flag, d.flags, d.labels[:, None] == np.arange(len(bundle.classes)))
        for i, answer in enumerate(sent.answers):
            w, true = weights.get(answer["id"], 0.0), int(sent.truth[i])
            if not w and answer["id"] not in reviewed:
                continue
            _label(sums, bundle.classes, true, called[i], w)
            if (name := bundle.classes[true]) in promised:
                sums["feedback_audit_targeted_weight_total", name] += w
                sums["feedback_audit_target_weight_total", name] += w * promised[name]
            if w:
                confidence = float(d.probabilities[i].max())
                edge = f"{BINS[np.searchsorted(BINS, confidence)]:.1f}"
                sums["calibration_weight_total", edge] += w
                sums["calibration_confidence_total", edge] += w * confidence
                sums["calibration_hits_total", edge] += w * (d.probabilities[i].argmax() == true)
    return sums


def _label(sums: Sums, classes: Sequence[str], true: int, called: np.ndarray, w: float) -> None:
    design = DESIGNS[not w]
    for k, name in enumerate(classes):
        for what, holds in (("labels", k == true), ("called", called[k]), ("true_positives", k == true and called[k])):
            sums[f"feedback_{what}_total", f"{name} {design}"] += float(holds)
        for what, holds, power in (
            ("weight", k == true, 1), ("squared_weight", k == true, 2), ("called_weight", called[k], 1),
            ("called_squared_weight", called[k], 2), ("true_positive_weight", k == true and called[k], 1),
            ("true_positive_squared_weight", k == true and called[k], 2),
        ):  # fmt: skip
            sums[f"feedback_audit_{what}_total", name] += float(holds) * w**power
