"""Precision without labels: the preview's at priors that are certain, and 95% limits where they are estimated."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision import Bundle, Calibration, Holdout, Policy, PolicyDocument, PriorsEstimate, estimate_priors, preview
from decision.intervals import Intervals
from decision.label_free import live_precision
from decision.policy import compile_policy
from tests.decision.policies import CALIBRATION, CLASSES, PRIORS, RULES, K, held_out, policy_of
from tests.decision.strategies import priors

LIVE = np.array([0.25, 0.15, 0.4, 0.2])
KINDS = [rule["kind"] for rule in RULES]


def bundle_of(
    holdout: Holdout,
    classes: tuple[str, ...] = CLASSES,
    source: np.ndarray = PRIORS,
    calibration: Calibration = CALIBRATION,
) -> Bundle:
    bias = dict(zip(classes, calibration.bias.tolist(), strict=True))
    record = SimpleNamespace(temperature=calibration.temperature, bias=bias)
    named = dict(zip(classes, source.tolist(), strict=True))
    manifest: Any = SimpleNamespace(classes=classes, calibration=record, calibration_priors=named)
    return Bundle(Path(), manifest, holdout)


def certain(q: np.ndarray) -> PriorsEstimate:
    return PriorsEstimate(q, q, q, 10**9, "em")


def called(policy: Policy, holdout: Holdout) -> np.ndarray:
    decisions = policy.decide(holdout.logits)
    labelled = decisions.labels[:, None] == np.arange(K)
    return np.where(policy.rule.can_flag, decisions.flags, labelled)


def arrays(found: Intervals) -> np.ndarray:
    return np.array([found.value, found.low, found.high])


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("rule", RULES, ids=KINDS)
def test_priors_that_are_certain_give_the_precision_of_the_preview(rule: dict, groups: bool) -> None:
    holdout = held_out(groups=groups)
    policy = policy_of(rule, holdout, deployment_priors=dict(zip(CLASSES, LIVE.tolist(), strict=True)))
    bundle = bundle_of(holdout)
    figures = preview(bundle, policy).policy
    expected = np.where(policy.rule.can_flag, arrays(figures.flag_precision), arrays(figures.precision))
    np.testing.assert_allclose(arrays(live_precision(bundle, policy, certain(LIVE))), expected, atol=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=KINDS)
def test_it_is_the_share_of_true_calls_counted_image_by_image(rule: dict) -> None:
    """Test images weigh q_j / n_j; the policy's own priors decide what is called and nothing else."""
    holdout = held_out()
    policy = policy_of(rule, holdout)
    test = holdout.part("test")
    weight = (LIVE / np.bincount(test.labels))[test.labels]
    hits = called(policy, test)
    expected = [weight[hits[:, k] & (test.labels == k)].sum() / weight[hits[:, k]].sum() for k in range(K)]
    np.testing.assert_allclose(live_precision(bundle_of(holdout), policy, certain(LIVE)).value, expected)


@given(priors(K), st.integers(0, K - 1), st.floats(0.0, 0.9))
def test_it_rises_with_the_live_prior(q: np.ndarray, k: int, step: float) -> None:
    holdout = held_out()
    bundle, policy = bundle_of(holdout), policy_of(RULES[1], holdout)
    more = np.where(np.arange(K) == k, q[k] + step * (1 - q[k]), q * (1 - step))
    less_precise, precise = (live_precision(bundle, policy, certain(each)).value[k] for each in (q, more))
    assert precise >= less_precise - 1e-12


def test_limits_join_those_of_the_images_with_those_of_the_prior() -> None:
    holdout = held_out()
    bundle, policy = bundle_of(holdout), policy_of(RULES[2], holdout)
    low, high = LIVE * 0.6, np.minimum(LIVE * 1.7, 1.0)
    found = live_precision(bundle, policy, PriorsEstimate(LIVE, low, high, 500, "em"))
    images = live_precision(bundle, policy, certain(LIVE))
    for k in range(K):
        for end, own, by_images in ((found.low, low[k], images.low), (found.high, high[k], images.high)):
            moved = LIVE * (1 - own) / (1 - LIVE[k])
            moved[k] = own
            by_prior = live_precision(bundle, policy, certain(moved)).value[k]
            expected = np.hypot(by_prior - found.value[k], by_images[k] - found.value[k])
            assert abs(end[k] - found.value[k]) == pytest.approx(expected, abs=1e-9)


def test_what_is_never_called_has_no_precision() -> None:
    holdout = held_out()
    policy = policy_of({"kind": "thresholds", "thresholds": {"d": 1 - 1e-12}}, holdout)
    found = live_precision(bundle_of(holdout), policy, certain(LIVE)).at(3)
    assert (np.isnan(found.value), found.low, found.high) == (True, 0.0, 1.0)


@pytest.mark.parametrize("q", [np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.0, 0.0, 0.0, 1.0])])
def test_a_class_that_is_not_there_or_is_all_there_is(q: np.ndarray) -> None:
    holdout = held_out()
    found = live_precision(bundle_of(holdout), policy_of(RULES[1], holdout), certain(q))
    assert (found.value[3], found.low[3], found.high[3]) == pytest.approx((q[3],) * 3)
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()
    assert ((found.low >= 0) & (found.high <= 1)).all()


def test_the_order_of_the_classes_does_not_matter() -> None:
    holdout, order = held_out(), np.array([2, 0, 3, 1])
    moved = Holdout(holdout.logits[:, order], np.argsort(order)[holdout.labels], holdout.split, holdout.groups)
    classes = tuple(CLASSES[k] for k in order)
    calibration = Calibration(CALIBRATION.temperature, CALIBRATION.bias[order])
    document = PolicyDocument.model_validate({"rule": RULES[2]})
    live = PriorsEstimate(LIVE, LIVE * 0.7, LIVE * 1.3, 100, "em")
    one = live_precision(bundle_of(holdout), policy_of(RULES[2], holdout), live)
    policy = compile_policy(document, classes, calibration, PRIORS[order], moved)
    other = live_precision(
        bundle_of(moved, classes, PRIORS[order], calibration), policy,
        replace(live, priors=LIVE[order], low=live.low[order], high=live.high[order]),
    )  # fmt: skip
    np.testing.assert_allclose(arrays(other), arrays(one)[:, order], atol=1e-12)


def test_only_test_images_are_looked_at() -> None:
    holdout = held_out()
    policy = policy_of(RULES[1], holdout)
    tune = holdout.split == "tune"
    scrambled = replace(holdout, labels=np.where(tune, 0, holdout.labels))
    one, other = (live_precision(bundle_of(each), policy, certain(LIVE)) for each in (holdout, scrambled))
    np.testing.assert_array_equal(arrays(one), arrays(other))


@pytest.mark.parametrize("method", ["em", "bbse"])
def test_limits_hold_the_precision_of_the_population_95_times_in_100(method: str) -> None:
    """A holdout, answers with four times as many of the rarest class, and what is called of half a million images."""
    sizes, mix, inside = (300, 200, 100, 40), np.array([0.3, 0.3, 0.15, 0.25]), []
    population = held_out(10_000, (60_000,) * K).part("test")
    for seed in range(80):
        holdout = held_out(seed, sizes)
        bundle = bundle_of(holdout, source=np.array(sizes) / sum(sizes))
        policy = compile_policy(
            PolicyDocument.model_validate({"rule": RULES[2]}), CLASSES, CALIBRATION, bundle.calibration_priors
        )
        if seed == 0:  # the policy is the same each time
            hits = called(policy, population).reshape(K, -1, K).mean(axis=1)
            truth = mix * hits.diagonal() / (mix @ hits)
        rng = np.random.default_rng([seed, 1])
        labels = rng.choice(K, 800, p=mix)
        answers = bundle.calibration.probabilities(rng.normal(0, 1.5, (800, K)) + 2 * np.eye(K)[labels])
        live = estimate_priors(probabilities=answers, method=method, holdout=bundle.known)
        found = live_precision(bundle, policy, live)
        inside.append((found.low <= truth) & (truth <= found.high))
    share = np.mean(inside)
    assert share >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / np.size(inside))
    assert share < 1.0, "limits that always hold it say too little"
