"""Four classes, one policy of each rule, and a holdout to compile and preview them with."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from decision import Bundle, Calibration, Holdout, Policy, PolicyDocument
from decision.policy import compile_policy

K = 4
CLASSES = tuple("abcd")
CALIBRATION = Calibration(1.5, np.array([0.3, -0.1, 0.0, -0.2]))
PRIORS = np.array([0.4, 0.3, 0.2, 0.1])
RULES: list[dict[str, Any]] = [
    {"kind": "argmax"},
    {"kind": "priors"},
    {"kind": "thresholds", "thresholds": {"c": 0.2, "d": 0.1}},
    {"kind": "recall", "targets": {"d": 0.8, "c": 0.7}},
    {"kind": "cost", "costs": {"d": {"a": 9.0, "b": 4.0}}},
]


def held_out(seed: int = 0, sizes: tuple[int, ...] = (200, 150, 100, 60), groups: bool = False) -> Holdout:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(K), sizes), 2)
    z = rng.normal(0, 1.5, (len(labels), K)) + 2 * np.eye(K)[labels]
    names = np.arange(len(labels)) // 3 if groups else np.arange(len(labels))
    return Holdout(z, labels, np.repeat(["tune", "test"], sum(sizes)), names)


def bundle_of(holdout: Holdout) -> Bundle:
    """As much of a bundle as a preview looks at."""
    return SimpleNamespace(classes=CLASSES, calibration=CALIBRATION, holdout=holdout)


def policy_of(rule: dict[str, Any], holdout: Holdout, classes: tuple[str, ...] = CLASSES, **document: Any) -> Policy:
    parsed = PolicyDocument.model_validate({"rule": rule} | document)
    return compile_policy(parsed, classes, CALIBRATION, PRIORS, holdout)
