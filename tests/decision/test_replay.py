import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from decision import Holdout, Policy, softmax
from decision.replay import VANISHED, replay
from tests.decision.policies import CALIBRATION, PRIORS, RULES, K, policy_of
from tests.decision.strategies import logits


def random_logits(n: int, seed: int = 0) -> np.ndarray:
    """Of a network that is often right and often sure."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 4, (n, K)) + 8 * np.eye(K)[rng.choice(K, n, p=PRIORS)]


def sure_holdout() -> Holdout:
    labels = np.arange(400) % K
    return Holdout(random_logits(400, 1) + 2 * np.eye(K)[labels], labels, np.full(400, "tune"), np.arange(400))


HOLDOUT = sure_holdout()
POLICIES = [policy_of(rule, HOLDOUT, deployment_priors=deployment, abstain_below=below)
            for rule in RULES for deployment, below in (("calibration", 0.0), ("uniform", 0.45))]  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from(POLICIES), logits(K))
def test_a_policy_against_itself_changes_nothing(policy: Policy, z: np.ndarray) -> None:
    stored = softmax(z).astype(np.float16)
    found = replay(policy, policy, stored)
    assert (found.n, found.changed.value, found.moves.sum()) == (len(z), 0.0, 0)
    np.testing.assert_array_equal(found.policy.label_share, found.against.label_share)
    np.testing.assert_array_equal(found.policy.flagged_share, found.against.flagged_share)


@settings(deadline=None)
@given(st.sampled_from(POLICIES), st.sampled_from(POLICIES), logits(K))
def test_swapping_the_policies_transposes_the_moves(policy: Policy, against: Policy, z: np.ndarray) -> None:
    there, back = replay(policy, against, softmax(z)), replay(against, policy, softmax(z))
    np.testing.assert_array_equal(there.moves, back.moves.T)
    assert there.changed == back.changed
    assert there.moves.sum() == round(there.changed.value * there.n)
    gained = (there.moves.sum(axis=0) - there.moves.sum(axis=1))[:K] / there.n
    np.testing.assert_allclose(there.policy.label_share - there.against.label_share, gained, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.document.rule.kind)
def test_it_agrees_with_the_decisions_on_the_logits(policy: Policy) -> None:
    z, against = random_logits(3000), POLICIES[0]
    after, before = policy.decide(z), against.decide(z)
    found = replay(policy, against, CALIBRATION.probabilities(z))
    moves = np.zeros((K + 1, K + 1), int)
    for source, target in zip(before.labels, after.labels, strict=True):
        moves[source, target] += source != target  # -1, none, is the last
    np.testing.assert_array_equal(found.moves, moves)
    changed = int((before.labels != after.labels).sum())
    limits = binomtest(changed, 3000).proportion_ci(0.95, method="exact")
    assert vars(found.changed) == pytest.approx({"value": changed / 3000, "low": limits.low, "high": limits.high})
    np.testing.assert_allclose(found.policy.label_share, [(after.labels == k).mean() for k in range(K)])
    np.testing.assert_allclose(found.against.label_share, [(before.labels == k).mean() for k in range(K)])
    flagged = np.where(policy.rule.can_flag, after.flags.mean(axis=0), np.nan)
    np.testing.assert_allclose(found.policy.flagged_share, flagged)
    assert np.isnan(found.against.flagged_share).all(), "argmax flags nothing"


# Of every rule but cost: its edges are between two expected costs, not two probabilities.
@pytest.mark.parametrize("policy", POLICIES[:8], ids=lambda policy: policy.document.rule.kind)
def test_float16_changes_a_decision_only_next_to_a_threshold(policy: Policy) -> None:
    calibrated = CALIBRATION.logits(random_logits(100_000, 2))
    p = softmax(calibrated)
    stored = p.astype(np.float16).astype(np.float64)
    assert (stored == 0).any(), "some vanish"
    as_replayed = np.log(np.maximum(stored, VANISHED))
    exact, rounded = policy.decide_calibrated(calibrated), policy.decide_calibrated(as_replayed)
    other = (exact.labels != rounded.labels) | (exact.flags != rounded.flags).any(axis=1)
    assert 0 < other.mean() < 2e-4, "measured: 1 to 5 in 100,000"
    slack = 2.01 * np.abs(as_replayed - np.log(p)).max(axis=1)[other]  # of a class, and of the sum that divides it
    adjusted, t = np.log(exact.probabilities)[other], np.log(policy.rule.thresholds)
    one, two = np.triu_indices(K, 1)
    scales = (
        [adjusted, adjusted - t] if not policy.can_flag else [adjusted, np.where(np.isnan(t), adjusted, adjusted - t)]
    )
    edges = [
        *(scale[:, one] - scale[:, two] for scale in scales),  # between two labels
        (adjusted - t)[:, policy.rule.can_flag],  # of a flag
        adjusted.max(axis=1, keepdims=True) - np.log(policy.document.abstain_below or 2.0),
    ]
    assert (np.abs(np.column_stack(edges)).min(axis=1) <= slack).all()


def test_what_vanished_is_taken_as_the_largest_that_vanishes() -> None:
    assert np.float16(VANISHED) == 0
    assert np.float16(np.nextafter(VANISHED, 1)) > 0
    stored = np.array([[1.0, 0.0, 0.0, 0.0]])
    low, high = (policy_of({"kind": "thresholds", "thresholds": {"d": t}}, HOLDOUT) for t in (2.9e-8, 3.1e-8))
    found = replay(low, high, stored)
    assert (found.against.flagged_share[3], found.policy.flagged_share[3]) == (0.0, 1.0)
    assert found.moves[0, 3] == 1


def test_an_example_by_hand() -> None:
    policy = policy_of({"kind": "thresholds", "thresholds": {"d": 0.1}}, HOLDOUT, abstain_below=0.5)
    stored = [[0.8, 0.1, 0.05, 0.05], [0.8, 0.0, 0.0, 0.2], [0.4, 0.3, 0.25, 0.05], [0.1, 0.1, 0.1, 0.7]]
    found = replay(policy, policy_of({"kind": "argmax"}, HOLDOUT), stored)
    assert (found.n, found.changed.value) == (4, 0.5)
    assert {(int(a), int(b)) for a, b in zip(*found.moves.nonzero(), strict=True)} == {(0, 3), (0, 4)}
    assert found.against.label_share.tolist() == [0.75, 0, 0, 0.25]
    assert found.policy.label_share.tolist() == [0.25, 0, 0, 0.5], "one of four has no label"
    assert found.policy.flagged_share[3] == 0.5
    assert np.isnan(found.policy.flagged_share[:3]).all()


def test_without_answers_nothing_is_known() -> None:
    found = replay(POLICIES[4], POLICIES[0], np.empty((0, K)))
    assert (found.n, found.moves.sum(), found.changed.low, found.changed.high) == (0, 0, 0.0, 1.0)
    assert math.isnan(found.changed.value)
    assert np.isnan([found.against.label_share, found.policy.label_share, found.policy.flagged_share]).all()


@pytest.mark.parametrize("stored", [np.full((2, 3), 1 / 3), np.full(K, 0.25), np.full((2, K), 0.2), [[1.5, -0.5, 0, 0]],
                                    [[np.nan] * K], np.empty((0, 3))])  # fmt: skip
def test_what_is_no_table_of_probabilities_is_refused(stored: Any) -> None:
    with pytest.raises(ValueError, match="^expected probabilities of"):
        replay(POLICIES[0], POLICIES[0], stored)


def test_policies_of_other_classes_are_refused() -> None:
    other = policy_of({"kind": "argmax"}, HOLDOUT, classes=tuple("abce"))
    with pytest.raises(ValueError, match="^expected a policy for the classes \\['a', .*, got one for"):
        replay(POLICIES[0], other, np.full((1, K), 0.25))
    with pytest.raises(TypeError, match="^expected a Policy, .* got dict$"):
        replay(POLICIES[0], {"rule": "argmax"}, np.full((1, K), 0.25))
