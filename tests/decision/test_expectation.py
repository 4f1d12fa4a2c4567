from typing import Any

import numpy as np
import pytest

from decision import Bundle, Calibration, Holdout, Policy, PolicyDocument
from decision.expectation import MOST_INVERTED, QUANTITIES, Expectation, expectation, stratified
from decision.policy import ABSTAIN, compile_policy
from tests.decision.policies import CALIBRATION, PRIORS, RULES, K, bundle_of, held_out, policy_of

DEPLOYMENTS = ["calibration", {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}]
CASES = [(rule, deployment, below) for rule in RULES for deployment, below in zip(DEPLOYMENTS, (0.0, 0.6), strict=True)]
IDS = [f"{rule['kind']}-{below}" for rule, _, below in CASES]


def case(rule: dict[str, Any], deployment: Any, below: float, holdout: Holdout) -> tuple[Bundle, Policy]:
    return bundle_of(holdout), policy_of(rule, holdout, deployment_priors=deployment, abstain_below=below)


def per_image(holdout: Holdout, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """What each image adds to each count `(4, n, K)`, and to abstention and confidence `(2, n)`."""
    decisions = policy.decide(holdout.logits)
    raw = np.eye(K)[CALIBRATION.probabilities(holdout.logits).argmax(axis=1)]
    label = np.where((decisions.labels == ABSTAIN)[:, None], 0.0, np.eye(K)[decisions.labels])
    counts = np.array([raw, label, decisions.flags, decisions.probabilities])
    return counts, np.array([decisions.labels == ABSTAIN, decisions.probabilities.max(axis=1)], float)


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(("rule", "deployment", "below"), CASES, ids=IDS)
def test_means_and_variances_are_those_of_an_answer(rule: dict, deployment: Any, below: float, groups: bool) -> None:
    """Image by image and class by class, without a matrix."""
    holdout = held_out(groups=groups)
    bundle, policy = case(rule, deployment, below, holdout)
    found = expectation(bundle, policy)
    counts, whole = per_image(holdout, policy)
    kinds = list(zip(holdout.groups, holdout.split, holdout.labels, strict=True))
    weight = np.array([1 / kinds.count(kind) for kind in kinds])
    n = np.array([weight[holdout.labels == j].sum() for j in range(K)])
    chance = policy.deployment_priors[holdout.labels] * weight / n[holdout.labels]
    np.testing.assert_allclose(found.held_out, n)
    for x, mean, variance in [
        *((counts[q, :, k], found.of(name).mean[k], found.of(name).variance[k])
          for q, name in enumerate(QUANTITIES) for k in range(K)),
        (whole[0], found.abstention.mean, found.abstention.variance),
        (whole[1], found.confidence.mean, found.confidence.variance),
    ]:  # fmt: skip
        expected = float((chance * x).sum())
        spread = float((chance * (x - expected) ** 2).sum())
        assert mean == pytest.approx(expected, abs=1e-12)
        assert spread - 1e-12 <= variance <= spread + 1 / 150, "smoothed upwards, by an image"


@pytest.mark.parametrize(("rule", "deployment", "below"), CASES, ids=IDS)
def test_shares_of_one_whole_sum_to_one(rule: dict, deployment: Any, below: float) -> None:
    bundle, policy = case(rule, deployment, below, held_out())
    found = expectation(bundle, policy)
    raw, decision, flag, mass = found.mean.sum(axis=1)
    assert (raw, decision + found.abstention.mean, mass) == pytest.approx((1, 1, 1))
    assert (flag > 0) == policy.can_flag
    assert (found.mean[2, ~policy.rule.can_flag] == 0).all()
    assert (found.variance <= found.mean + 1e-15).all(), "no count is more variable than a Poisson one"
    assert np.isfinite(found.images).all()
    assert (found.images > 0).all()


@pytest.mark.parametrize("rows", [[0, 1, 1, 0], [0, 1, 2, 2], [0, 0, 0, 0], [2, 0, 3, 1]])
@pytest.mark.parametrize(("rule", "deployment", "below"), CASES, ids=IDS)
def test_rows_put_together_add_up(rule: dict, deployment: Any, below: float, rows: list[int]) -> None:
    holdout = held_out()
    bundle, policy = case(rule, deployment, below, holdout)
    apart, together = expectation(bundle, policy), expectation(bundle, policy, np.array(rows))
    fold = np.eye(max(rows) + 1)[rows]
    np.testing.assert_allclose(together.mean, apart.mean @ fold, atol=1e-12)
    np.testing.assert_allclose(together.held_out, apart.held_out @ fold)
    chance = (policy.deployment_priors / apart.held_out)[holdout.labels]
    x = per_image(holdout, policy)[0] @ fold
    spread = (chance[:, None] * (x - together.mean[:, None]) ** 2).sum(axis=1)
    assert (np.abs(together.variance - spread) <= 1 / 150).all(), "of the sum, not the sum of the classes'"
    own = policy.deployment_priors * apart.raw_recall
    if rows == [0, 1, 2, 2]:
        np.testing.assert_allclose(together.raw_recall[:2], apart.raw_recall[:2])
        assert together.raw_recall[2] * policy.deployment_priors[2:].sum() > own[2:].sum(), "each other's are right"
    if rows == [0, 0, 0, 0]:
        assert together.raw_recall == pytest.approx(1.0)
        assert np.isnan(together.raw_fpr).all(), "there is no other class"


def test_permuting_the_classes_permutes_the_rows() -> None:
    order = np.array([2, 0, 3, 1])
    holdout = held_out()
    place = np.argsort(order)
    other = Holdout(holdout.logits[:, order], place[holdout.labels], holdout.split, holdout.groups)
    classes, calibration = tuple("abcd"[k] for k in order), Calibration(1.5, CALIBRATION.bias[order])
    document = PolicyDocument.model_validate({"rule": RULES[2], "abstain_below": 0.5})
    policy = compile_policy(document, classes, calibration, PRIORS[order], other)
    bundle = bundle_of(other)
    bundle.classes, bundle.calibration = classes, calibration
    one, two = (
        expectation(bundle_of(holdout), policy_of(RULES[2], holdout, abstain_below=0.5)),
        expectation(bundle, policy),
    )
    for name in ("mean", "variance", "images", "held_out", "raw_recall", "raw_fpr", "flag_recall"):
        np.testing.assert_allclose(getattr(one, name)[..., order], getattr(two, name), rtol=1e-9)
    assert one.bbse_inverse is not None
    assert two.bbse_inverse is not None
    np.testing.assert_allclose(one.bbse_inverse[np.ix_(order, order)], two.bbse_inverse, rtol=1e-9)


def test_the_holdouts_own_class_mix_does_not_matter() -> None:
    holdout = held_out()
    policy = policy_of(RULES[0], holdout)
    copies = np.repeat(np.arange(len(holdout.labels)), np.where(holdout.labels == 0, 3, 1))
    tripled = Holdout(holdout.logits[copies], holdout.labels[copies], holdout.split[copies], np.arange(len(copies)))
    once, often = expectation(bundle_of(holdout), policy), expectation(bundle_of(tripled), policy)
    np.testing.assert_allclose(once.mean, often.mean, atol=1e-12)
    assert (often.images[0] > once.images[0]).all(), "more images, as far as anyone can tell"


def test_gauges_are_the_shares_they_are_named_after() -> None:
    holdout = held_out()
    bundle, policy = case(RULES[2], DEPLOYMENTS[1], 0.0, holdout)
    found = expectation(bundle, policy)
    counts, _ = per_image(holdout, policy)
    confusion = np.array([counts[0][holdout.labels == j].mean(axis=0) for j in range(K)])  # true by raw
    flagged = np.array([counts[2][holdout.labels == j].mean(axis=0) for j in range(K)])
    priors = policy.deployment_priors
    for k in range(K):
        others = np.arange(K) != k
        assert found.raw_recall[k] == pytest.approx(confusion[k, k])
        assert found.raw_fpr[k] == pytest.approx(priors[others] @ confusion[others, k] / priors[others].sum())
    np.testing.assert_allclose(found.flag_recall, np.where(policy.rule.can_flag, flagged.diagonal(), np.nan))
    live = np.array([0.05, 0.15, 0.7, 0.1])
    assert found.bbse_inverse is not None
    np.testing.assert_allclose(found.bbse_inverse @ (live @ confusion), live)


def test_images_are_what_the_means_vary_like() -> None:
    """m = Var(x) / Var(mean), brute force: 3,000 holdouts of a known population."""
    rng = np.random.default_rng(0)
    priors, n = np.array([0.6, 0.3, 0.1]), np.array([120.0, 200.0, 30.0])
    confusion = np.array([[0.9, 0.07, 0.03], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]])
    draws = [stratified(priors, n, hits, hits) for hits in
             (np.array([rng.multinomial(int(size), row) for size, row in zip(n, confusion, strict=True)], float)
              for _ in range(3_000))]  # fmt: skip
    mean = priors @ confusion
    means = np.array([one.mean for one in draws])
    np.testing.assert_allclose(means.mean(axis=0), mean, atol=0.002)
    exact = (mean - mean**2) / ((priors**2 / n) @ (confusion - confusion**2))
    np.testing.assert_allclose((mean - mean**2) / means.var(axis=0), exact, rtol=0.08)
    np.testing.assert_allclose(np.median([one.images for one in draws], axis=0), exact, rtol=0.08)


def test_what_was_never_seen_is_not_known_exactly() -> None:
    priors, n = np.array([0.7, 0.2, 0.1]), np.array([70.0, 40.0, 3.0])
    size = 1 / (priors**2 / n).sum()
    never, always = np.zeros((3, 1)), n[:, None]
    for sums, mean in ((never, 0.0), (always, 1.0)):
        found = stratified(priors, n, sums, sums)
        assert found.mean == pytest.approx(mean)
        assert found.images == pytest.approx(size)
    assert stratified(priors, n, never, never).variance == 0
    assert 0.4 / size < stratified(priors, n, always, always).variance[0] < 1 / size
    agreed = np.array([[0.0], [0.0], [3.0]])  # three images of a class agree
    assert 3 / 0.1 < stratified(priors, n, agreed, agreed).images[0] < 200


def test_a_class_without_images_leaves_its_prior_to_the_others() -> None:
    holdout = held_out()
    kept = holdout.labels != 1
    without = Holdout(holdout.logits[kept], holdout.labels[kept], holdout.split[kept], holdout.groups[kept])
    policy = policy_of(RULES[0], holdout)
    found = expectation(bundle_of(without), policy)
    assert found.unseen == pytest.approx(PRIORS[1])
    assert found.mean[0].sum() == pytest.approx(1)
    assert np.isnan(found.raw_recall[1])
    assert found.held_out[1] == 0
    assert found.bbse_inverse is None
    assert np.isfinite(found.images).all()
    raw = CALIBRATION.probabilities(holdout.logits).argmax(axis=1)
    shares = np.array([[(raw[holdout.labels == j] == k).mean() for k in range(K)] for j in range(K)])
    np.testing.assert_allclose(found.mean[0], (PRIORS[[0, 2, 3]] / 0.7) @ shares[[0, 2, 3]], atol=1e-12)


def many_classes(k: int, n: int) -> tuple[Bundle, Policy]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % k
    holdout = Holdout(rng.normal(0, 1, (n, k)) + 3 * np.eye(k)[labels], labels, np.full(n, "test"), np.arange(n))
    classes, calibration = tuple(map(str, range(k))), Calibration(1.0, np.zeros(k))
    policy = compile_policy(PolicyDocument(), classes, calibration, np.full(k, 1 / k), holdout)
    bundle = bundle_of(holdout)
    bundle.classes, bundle.calibration = classes, calibration
    return bundle, policy


def test_the_inverse_is_there_for_up_to_20_classes_that_can_be_told_apart() -> None:
    assert expectation(*many_classes(MOST_INVERTED, 4_000)).bbse_inverse is not None
    assert expectation(*many_classes(MOST_INVERTED + 1, 4_200)).bbse_inverse is None
    for rows in ([0, 1, 2, 2], [1, 0, 2, 3]):
        assert expectation(*many_classes(4, 400), np.array(rows)).bbse_inverse is None
    holdout = held_out()
    blind = Holdout(holdout.logits * [1, 1, 1, 0] - [0, 0, 0, 50], holdout.labels, holdout.split, holdout.groups)
    assert expectation(bundle_of(blind), policy_of(RULES[0], blind)).bbse_inverse is None


def test_more_images_than_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, policy = case(RULES[2], DEPLOYMENTS[1], 0.6, held_out(groups=True))
    whole = expectation(bundle, policy)
    monkeypatch.setattr("decision.holdout_sums.CELLS_AT_ONCE", 7 * K)
    parts = expectation(bundle, policy)
    for name in ("mean", "variance", "images", "flag_recall"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 3, 3], [-1, 0, 1, 2], [0.0, 1.0, 2.0, 3.0], [[0, 1, 2, 3]]])
def test_rows_that_are_none(rows: list) -> None:
    bundle, policy = case(RULES[0], "calibration", 0.0, held_out())
    with pytest.raises(ValueError, match="expected the row of each of 4 classes, 0 to R - 1"):
        expectation(bundle, policy, np.array(rows))


def test_what_does_not_fit_is_named() -> None:
    holdout = held_out()
    empty = Holdout(holdout.logits[:0], holdout.labels[:0], holdout.split[:0], holdout.groups[:0])
    policy = policy_of(RULES[0], holdout)
    with pytest.raises(ValueError, match="expected held-out images, got none"):
        expectation(bundle_of(empty), policy)
    with pytest.raises(TypeError, match="expected a Policy"):
        expectation(bundle_of(holdout), {"rule": "argmax"})
    with pytest.raises(ValueError, match="for the classes"):
        expectation(bundle_of(holdout), policy_of(RULES[0], holdout, tuple("dcba")))


def test_a_window_adds_up_what_each_answer_adds() -> None:
    """The sums of n answers of the population: brute force over 400 windows, at a site with priors of its own."""
    rng = np.random.default_rng(1)
    holdout = held_out(sizes=(2_000, 1_500, 1_000, 600))
    bundle, policy = case(RULES[2], DEPLOYMENTS[1], 0.6, holdout)
    found: Expectation = expectation(bundle, policy)
    counts, whole = per_image(holdout, policy)
    chance = policy.deployment_priors[holdout.labels] / np.bincount(holdout.labels)[holdout.labels]
    sums = [(counts[:, rows].sum(axis=1), whole[:, rows].sum(axis=1))
            for rows in rng.choice(len(chance), (400, 300), p=chance)]  # fmt: skip
    rows = np.array([one for one, _ in sums])
    assert QUANTITIES == ("raw", "decision", "flag", "mass")
    error = np.sqrt(300 * found.variance / 400) + 1e-9
    assert (np.abs(rows.mean(axis=0) - 300 * found.mean) < 4 * error).all()
    flaggable = found.mean > 0
    ratio = rows.var(axis=0)[flaggable] / (300 * found.variance[flaggable])
    assert ((ratio > 0.7) & (ratio < 1.35)).all()
    overall = np.array([one for _, one in sums])
    for x, one in zip(overall.T, (found.abstention, found.confidence), strict=True):
        assert x.mean() == pytest.approx(300 * one.mean, abs=4 * np.sqrt(300 * one.variance / 400))
        assert x.var() == pytest.approx(300 * one.variance, rel=0.35)
