"""What may happen to a service: who comes, what their images look like, what is changed, and which alerts that is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Seen = tuple[Pixels, int | None]
"""An image, and its class; None for one that the model does not have."""
Priors = NDArray[np.float64]

ALERTS_OF_DRIFT = frozenset({"EquipoiseClassShareShifted", "EquipoiseConfiguredPriorStale"})
ALERTS_OF_STRANGENESS = frozenset({"EquipoiseConfidenceShifted", "EquipoiseClassShareShifted"})
ALERT_OF_A_BROKEN_PROMISE = "EquipoiseObservedRecallBelowTarget"


@dataclass(frozen=True)
class Site:
    """Where the bundle is tried: its priors, the class that is watched, one that is rare."""

    classes: tuple[str, ...]
    priors: Priors
    target: int
    rare: int

    def with_prior(self, k: int, prior: float) -> Priors:
        """The priors with class k at another, the others in proportion."""
        priors = self.priors * (1 - prior) / (1 - self.priors[k])
        priors[k] = prior
        return priors

    def own_mix(self) -> Priors:
        """Another site: flatter, so that every class moves."""
        priors: Priors = self.priors**0.7
        return priors / priors.sum()


@dataclass(frozen=True)
class Scenario:
    """`mix` and `seen`, what comes of an image of a class, are asked at each share of the scenario's time, from 0 to 1.

    Of the alerts at least one of `right` must fire, and none that is in neither `right` nor `allowed`.
    """

    name: str
    mix: Callable[[Site, float], Priors] = lambda site, at: site.priors
    seen: Callable[[Site, float, Pixels, int, np.random.Generator], Seen] = lambda site, at, pixels, label, rng: (
        pixels, label)  # fmt: skip
    policy: Callable[[Site], dict[str, Any]] = lambda site: policy_of(site, site.priors)
    change: Callable[[Site], dict[str, Any]] | None = None
    right: frozenset[str] = frozenset()
    allowed: frozenset[str] = field(default_factory=frozenset)


def policy_of(site: Site, priors: Priors, recall: float = 0.85) -> dict[str, Any]:
    """A certified recall of the watched class, at these deployment priors."""
    return {
        "deployment_priors": dict(zip(site.classes, priors.tolist(), strict=True)),
        "rule": {"kind": "recall", "targets": {site.classes[site.target]: recall}},
    }


def _dark(site: Site, at: float, pixels: Pixels, label: int, rng: np.random.Generator) -> Seen:
    """A lens that has gone dark and noisy, on every image."""
    del site, at
    noisy = pixels * 0.25 + rng.normal(0, 20, pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), label


def _unknown(site: Site, at: float, pixels: Pixels, label: int, rng: np.random.Generator) -> Seen:
    """One image in four is of something else: its quarters changed about, and turned."""
    del site, at
    if rng.random() > 0.25:
        return pixels, label
    height, width = (2 * (size // 2) for size in pixels.shape[:2])
    top, bottom = np.split(pixels[:height, :width], 2)
    mixed = np.concatenate([bottom[:, ::-1], top[::-1]])
    return np.ascontiguousarray(255 - mixed), None


def _hidden(site: Site, at: float, pixels: Pixels, label: int, rng: np.random.Generator) -> Seen:
    """The watched class fades: its contrast falls from what it was to a fifth, from a quarter to half of the time."""
    del rng
    if label != site.target:
        return pixels, label
    contrast = float(np.interp(at, (0.25, 0.5), (1.0, 0.2)))
    return np.clip(pixels.mean() + (pixels - pixels.mean()) * contrast, 0, 255).astype(np.uint8), label


SCENARIOS = (
    Scenario("none"),
    Scenario(
        "own priors, configured", mix=lambda site, at: site.own_mix(),
        policy=lambda site: policy_of(site, site.own_mix()),
    ),
    Scenario(
        "a rare class three times as often",
        mix=lambda site, at: site.with_prior(site.rare, 3 * float(site.priors[site.rare])), right=ALERTS_OF_DRIFT,
    ),
    Scenario("broken camera", seen=_dark, right=ALERTS_OF_STRANGENESS,
             allowed=ALERTS_OF_DRIFT | {ALERT_OF_A_BROKEN_PROMISE, "EquipoiseCalibrationOff"}),
    Scenario("a new class", seen=_unknown, right=ALERTS_OF_STRANGENESS,
             allowed=ALERTS_OF_DRIFT | {"EquipoiseCalibrationOff"}),
    Scenario(
        "threshold change", change=lambda site: policy_of(site, site.priors, recall=0.6) | {"abstain_below": 0.5},
    ),
    Scenario(
        "slow drift",
        mix=lambda site, at: site.with_prior(site.rare, (1 + 3 * at) * float(site.priors[site.rare])),
        right=ALERTS_OF_DRIFT,
    ),
    Scenario("the watched class fades", seen=_hidden, right=frozenset({ALERT_OF_A_BROKEN_PROMISE}),
             allowed=ALERTS_OF_DRIFT | ALERTS_OF_STRANGENESS | {"EquipoiseDecisionsOffExpectation",
                                                                 "EquipoiseCalibrationOff"}),
)  # fmt: skip
