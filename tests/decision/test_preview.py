from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from decision import Bundle, Calibration, Holdout, PolicyDocument
from decision.intervals import Intervals, clopper_pearson
from decision.policy import compile_policy
from decision.preview import Figures, preview
from tests.decision.policies import CALIBRATION, CLASSES, PRIORS, RULES, K, bundle_of, held_out, policy_of


def every_interval(figures: Figures) -> list[Intervals]:
    return [value if isinstance(value, Intervals) else Intervals(*map(np.asarray, vars(value).values()))
            for value in vars(figures).values()]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"])
@pytest.mark.parametrize("deployment", ["calibration", "uniform"])
def test_values_agree_with_scikit_learn_on_weighted_images(rule: dict[str, Any], deployment: str) -> None:
    holdout = held_out()
    policy = policy_of(rule, holdout, deployment_priors=deployment, abstain_below=0.4)
    figures = preview(bundle_of(holdout), policy).policy
    test = holdout.part("test")
    decisions = policy.decide(test.logits)
    weights = (policy.deployment_priors / np.bincount(test.labels))[test.labels]
    labels = {"y_true": test.labels, "y_pred": decisions.labels, "labels": range(K), "average": None}
    np.testing.assert_allclose(figures.recall.value, recall_score(**labels, sample_weight=weights))
    np.testing.assert_allclose(figures.precision.value, precision_score(**labels, sample_weight=weights))
    np.testing.assert_allclose(
        figures.label_share.value, [np.average(decisions.labels == k, weights=weights) for k in range(K)]
    )
    assert figures.abstention.value == pytest.approx(np.average(decisions.labels == -1, weights=weights))
    as_last = np.where(decisions.labels < 0, K, decisions.labels)
    expected = confusion_matrix(test.labels, as_last, labels=range(K + 1), normalize="true")[:K]
    np.testing.assert_allclose(figures.confusion.value, expected)
    for k in range(K):
        flagged = decisions.flags[:, k]
        if not policy.rule.can_flag[k]:
            assert np.isnan([figures.flag_recall.value[k], figures.flagged_share.value[k]]).all()
            continue
        assert figures.flag_recall.value[k] == pytest.approx(flagged[test.labels == k].mean())
        assert figures.flagged_share.value[k] == pytest.approx(np.average(flagged, weights=weights))
        right = np.average((test.labels == k)[flagged], weights=weights[flagged])
        assert figures.flag_precision.value[k] == pytest.approx(right)


def test_cost_is_the_policys_own_and_an_abstention_costs_nothing() -> None:
    holdout = held_out()
    test = holdout.part("test")
    policy = policy_of(RULES[-1], holdout, abstain_below=0.5)
    costs = 1 - np.eye(K)
    costs[3, 0], costs[3, 1] = 9.0, 4.0
    labels = policy.decide(test.logits).labels
    each = np.where(labels < 0, 0.0, costs[test.labels, labels])
    expected = sum(PRIORS[k] * each[test.labels == k].mean() for k in range(K))
    assert preview(bundle_of(holdout), policy).policy.cost.value == pytest.approx(expected)
    plain = policy_of({"kind": "argmax"}, holdout)
    against = preview(bundle_of(holdout), plain, against=policy)
    assert against.comparison is not None
    assert against.comparison.against.cost.value == pytest.approx(expected), "one price list for both"
    alone = preview(bundle_of(holdout), plain).policy
    assert alone.cost.value == pytest.approx(1 - PRIORS @ alone.recall.value), "without a price list, the error rate"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"])
@pytest.mark.parametrize("other", RULES, ids=lambda rule: rule["kind"])
def test_differences_are_of_the_same_images(rule: dict[str, Any], other: dict[str, Any]) -> None:
    holdout = held_out()
    bundle = bundle_of(holdout)
    policy, against = policy_of(rule, holdout, abstain_below=0.5), policy_of(other, holdout)
    found = preview(bundle, policy, against=against)
    assert found.comparison is not None
    figures = (found.policy, found.comparison.against, found.comparison.difference)
    for one, two, apart in zip(*map(every_interval, figures), strict=True):
        np.testing.assert_allclose(apart.value, one.value - two.value, atol=1e-12)
        known = ~np.isnan(apart.value)
        assert (apart.low[known] <= apart.value[known]).all()
        assert (apart.value[known] <= apart.high[known]).all()


def test_a_policy_held_against_itself_differs_by_0() -> None:
    holdout = held_out()
    policy = policy_of(RULES[2], holdout)
    comparison = preview(bundle_of(holdout), policy, against=policy).comparison
    assert comparison is not None
    assert (comparison.changed.value, comparison.changed.low) == (0, 0)
    assert not np.any(comparison.moves)
    for apart in every_interval(comparison.difference):
        known = ~np.isnan(apart.value)
        assert (apart.value[known] == 0.0).all()
        if apart.value.ndim:  # abstentions cannot be
            assert ((apart.low[known] < 0.0) & (apart.high[known] > 0.0)).all()


def test_against_is_seen_at_the_deployment_priors_of_the_new_policy() -> None:
    holdout = held_out()
    here, there = policy_of(RULES[1], holdout), policy_of(RULES[1], holdout, deployment_priors="uniform")
    found = preview(bundle_of(holdout), there, against=here)
    assert found.comparison is not None
    np.testing.assert_array_equal(found.priors, np.full(K, 1 / K))
    np.testing.assert_allclose(found.comparison.against.label_share.value, found.policy.label_share.value)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(RULES[:3] + RULES[4:]), st.integers(0, 99), st.integers(2, 5))
def test_copies_of_a_class_change_no_value_and_narrow_the_limits(rule: dict[str, Any], seed: int, times: int) -> None:
    holdout = held_out(seed)
    rows = np.concatenate([np.arange(len(holdout.labels))] + [np.flatnonzero(holdout.labels == 3)] * (times - 1))
    more = Holdout(holdout.logits[rows], holdout.labels[rows], holdout.split[rows], np.arange(len(rows)))
    policy = policy_of(rule, holdout)
    one, other = (preview(bundle_of(h), policy).policy for h in (holdout, more))
    for a, b in zip(every_interval(one), every_interval(other), strict=True):
        np.testing.assert_allclose(a.value, b.value, atol=1e-12)
    assert (other.confusion.high - other.confusion.low)[3].sum() < (one.confusion.high - one.confusion.low)[3].sum()


def test_related_images_count_as_one() -> None:
    """Three copies of each image in one group say what the one says, limits and all."""
    holdout = held_out()
    rows = np.repeat(np.arange(len(holdout.labels)), 3)
    tripled = Holdout(holdout.logits[rows], holdout.labels[rows], holdout.split[rows], rows)
    policies = [policy_of(rule, holdout) for rule in (RULES[2], RULES[4])]
    found, expected = (preview(bundle_of(h), policies[0], against=policies[1]) for h in (tripled, holdout))
    np.testing.assert_allclose(found.n, expected.n)
    assert found.comparison is not None
    assert expected.comparison is not None
    for one, other in ((found.policy, expected.policy), (found.comparison.against, expected.comparison.against),
                       (found.comparison.difference, expected.comparison.difference)):  # fmt: skip
        for a, b in zip(every_interval(one), every_interval(other), strict=True):
            for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
                np.testing.assert_allclose(x, y, atol=1e-9)
    np.testing.assert_allclose(found.comparison.moves, expected.comparison.moves, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"])
def test_every_value_is_within_its_limits_and_shares_sum_to_1(rule: dict[str, Any]) -> None:
    holdout = held_out(3, groups=True)
    figures = preview(bundle_of(holdout), policy_of(rule, holdout, abstain_below=0.6)).policy
    for found in every_interval(figures):
        known = ~np.isnan(found.value)
        assert (found.low[known] <= found.value[known]).all()
        assert (found.value[known] <= found.high[known]).all()
        assert (found.low >= 0.0).all()
    assert figures.label_share.value.sum() + figures.abstention.value == pytest.approx(1.0)
    np.testing.assert_allclose(figures.confusion.value.sum(axis=1), 1.0)
    assert figures.label_share.high.max() <= 1.0


def test_recalls_have_clopper_and_pearsons_limits() -> None:
    holdout = held_out()
    figures = preview(bundle_of(holdout), policy_of(RULES[0], holdout)).policy
    sizes = np.array([200, 150, 100, 60])
    low, high = clopper_pearson(np.round(figures.recall.value * sizes), sizes)
    np.testing.assert_allclose((figures.recall.low, figures.recall.high), (low, high))


def test_the_order_of_the_classes_does_not_matter() -> None:
    holdout, order = held_out(), np.array([2, 0, 3, 1])
    back = np.argsort(order)
    moved = Holdout(holdout.logits[:, order], back[holdout.labels], holdout.split, holdout.groups)
    document = PolicyDocument.model_validate({"rule": RULES[2]})
    names = tuple(CLASSES[k] for k in order)
    calibration = Calibration(1.5, CALIBRATION.bias[order])
    policy = compile_policy(document, names, calibration, PRIORS[order])
    bundle: Any = SimpleNamespace(classes=names, calibration=calibration, holdout=moved)
    found, expected = preview(bundle, policy).policy, preview(bundle_of(holdout), policy_of(RULES[2], holdout)).policy
    for name in ("recall", "precision", "label_share", "flag_recall", "flag_precision", "flagged_share"):
        for a, b in zip(vars(getattr(found, name)).values(), vars(getattr(expected, name)).values(), strict=True):
            np.testing.assert_allclose(a, b[order], atol=1e-12)


def test_a_class_that_the_test_split_lacks_is_not_known() -> None:
    whole = held_out()
    rows = ~((whole.labels == 3) & (whole.split == "test"))
    holdout = Holdout(whole.logits[rows], whole.labels[rows], whole.split[rows], whole.groups[rows])
    policies = [policy_of(rule, whole) for rule in (RULES[2], RULES[0])]
    found = preview(bundle_of(holdout), policies[0], against=policies[1])
    assert found.n.tolist() == [200, 150, 100, 0]
    assert found.comparison is not None
    against, difference = found.comparison.against, found.comparison.difference
    for name in ("label_share", "flagged_share"):
        one, other, apart = (getattr(f, name).value for f in (found.policy, against, difference))
        np.testing.assert_allclose(apart, one - other, atol=1e-12)
    assert difference.cost.value == pytest.approx(found.policy.cost.value - against.cost.value)
    for figures, low in ((found.policy, 0.0), (difference, -1.0)):
        nothing = figures.recall.at(3)
        assert (np.isnan(nothing.value), nothing.low, nothing.high) == (True, low, 1.0)
    assert found.policy.label_share.high[0] > preview(bundle_of(whole), policies[0]).policy.label_share.high[0] + 0.05


def test_a_policy_of_other_classes_is_refused(bundle: Bundle) -> None:
    policy = policy_of(RULES[0], held_out())
    with pytest.raises(
        ValueError, match=r"expected a policy for the classes \['red', 'green', 'blue'\], got one for \['a'"
    ):
        preview(bundle, policy)
    with pytest.raises(ValueError, match="expected a policy for the classes"):
        preview(bundle, bundle.policy(), against=policy)
    with pytest.raises(TypeError, match=r"expected a Policy, as bundle.policy\(document\) gives, got dict"):
        preview(bundle, {"rule": {"kind": "argmax"}})  # type: ignore[arg-type]
    foreign = compile_policy(PolicyDocument(), bundle.classes, Calibration(1.0, np.zeros(3)), np.full(3, 1 / 3))
    with pytest.raises(ValueError, match="got one with the calibration of another"):
        preview(bundle, foreign)


def test_it_prints_as_a_table_of_each_class() -> None:
    holdout = held_out()
    policy, against = policy_of(RULES[2], holdout), policy_of(RULES[0], holdout)
    found = preview(bundle_of(holdout), policy, against=against)
    blocks = [block.splitlines() for block in str(found).split("\n\n")]
    assert [block[0].split()[0] for block in blocks] == ["policy", "against", "difference"]
    assert blocks[0][1].split()[:3] == ["a", "200", "0.4"]
    assert str(found.policy.recall.at(1)) in blocks[0][2]
    assert format(found.policy.flagged_share.at(3), ".3f") in blocks[0][4]
    assert str(found.policy.flag_recall.at(3)) in blocks[0][4]
    assert found.comparison is not None
    assert blocks[1][4].endswith(format(found.comparison.against.label_share.at(3), ".3f")), "argmax flags nothing"
    assert (
        blocks[0][5]
        == f"abstention {found.policy.abstention:.3f}, expected cost {found.policy.cost:.3f} (0 for an abstention)"
    )
    assert len(str(preview(bundle_of(holdout), policy)).split("\n\n")) == 1


def test_a_preview_of_a_bundle_as_loaded(bundle: Bundle) -> None:
    found = preview(bundle, bundle.policy({"rule": {"kind": "argmax"}}), against=bundle.policy())
    assert found.classes == ("red", "green", "blue")
    assert found.n.sum() == 20
    test = bundle.holdout.part("test")
    decided = bundle.policy().decide(test.logits).labels
    assert found.comparison is not None
    for k in range(3):
        assert found.comparison.against.recall.value[k] == pytest.approx(np.mean(decided[test.labels == k] == k))


def test_what_cannot_be_flagged_by_both_is_not_compared() -> None:
    holdout = held_out()
    found = preview(bundle_of(holdout), policy_of(RULES[2], holdout), against=policy_of(RULES[0], holdout))
    assert found.comparison is not None
    for name in ("flag_recall", "flag_precision", "flagged_share"):
        of_policy, apart = getattr(found.policy, name).at(0), getattr(found.comparison.difference, name).at(3)
        assert (np.isnan(of_policy.value), of_policy.low, of_policy.high) == (True, 0.0, 1.0), "a has no threshold"
        assert (np.isnan(apart.value), apart.low, apart.high) == (True, -1.0, 1.0), "argmax has none"


@pytest.mark.parametrize("size", [1e-200, 1e9])
def test_costs_of_any_size_have_limits_in_proportion(size: float) -> None:
    holdout = held_out()
    plain, scaled = ({"kind": "cost", "costs": {t: {c: unit for c in "abcd" if c != t} for t in "abcd"}}
                     for unit in (1.0, size))  # fmt: skip
    one, other = (preview(bundle_of(holdout), policy_of(rule, holdout)).policy.cost for rule in (plain, scaled))
    assert [other.value / size, other.low / size, other.high / size] == pytest.approx([one.value, one.low, one.high])


@pytest.mark.parametrize("rows", ["a", "abcd"])
def test_errors_may_cost_nothing(rows: str) -> None:
    holdout = held_out()
    costs = {true: dict.fromkeys(set("abcd") - {true}, 0.0) for true in rows}
    free = policy_of({"kind": "cost", "costs": costs}, holdout)
    found = preview(bundle_of(holdout), free, against=policy_of(RULES[0], holdout))
    assert found.comparison is not None
    for cost in (found.policy.cost, found.comparison.difference.cost):
        assert np.isfinite([cost.value, cost.low, cost.high]).all()
        assert cost.low <= cost.value <= cost.high


def test_a_policy_that_cannot_abstain_never_does() -> None:
    holdout = held_out()
    one, other = policy_of(RULES[0], holdout), policy_of(RULES[0], holdout, abstain_below=0.5)
    never = preview(bundle_of(holdout), one).policy.abstention
    assert (never.value, never.low, never.high) == (0.0, 0.0, 0.0)
    comparison = preview(bundle_of(holdout), one, against=other).comparison
    assert comparison is not None
    assert comparison.difference.abstention.low < comparison.difference.abstention.value < 0.0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"])
@pytest.mark.parametrize("groups", [False, True])
def test_changes_and_moves_are_those_of_each_image(rule: dict[str, Any], groups: bool) -> None:
    holdout = held_out(groups=groups)
    policy, against = (
        policy_of(rule, holdout, deployment_priors="uniform"),
        policy_of(RULES[0], holdout, abstain_below=0.5),
    )
    found = preview(bundle_of(holdout), policy, against=against).comparison
    assert found is not None

    test = holdout.part("test")
    ours, theirs = policy.decide(test.logits).labels, against.decide(test.logits).labels
    moves = np.zeros((K + 1, K + 1))
    for label, share, was, now in zip(test.labels, test.shares, theirs, ours, strict=True):
        if was != now:
            own = test.shares[test.labels == label].sum()
            moves[was, now] += policy.deployment_priors[label] * share / own  # -1 is the last
    assert found.moves == pytest.approx(moves)
    assert found.changed.value == pytest.approx(moves.sum())
    assert found.changed.low <= found.changed.value <= found.changed.high


def test_flags_alone_change_no_label() -> None:
    """Half the threshold for every class: more is flagged, and the label is the same multiple of it."""
    holdout = held_out()
    policy, against = (policy_of({"kind": "thresholds", "thresholds": dict.fromkeys(CLASSES, t)}, holdout)
                       for t in (0.01, 0.02))  # fmt: skip
    found = preview(bundle_of(holdout), policy, against=against).comparison
    assert found is not None
    assert found.changed.value == 0
    assert (found.difference.flagged_share.value > 0).any()


def test_alone_it_compares_nothing() -> None:
    holdout = held_out()
    assert preview(bundle_of(holdout), policy_of(RULES[0], holdout)).comparison is None
