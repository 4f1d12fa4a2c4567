import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from decision import Holdout, Interval, NotCertifiable, certify
from decision.certificates import Certificate, Target, certify_targets, images_needed, largest_rank


@pytest.mark.parametrize(
    ("n", "recall", "rank"),
    [(29, 0.9, 1), (50, 0.9, 2), (100, 0.9, 5), (200, 0.9, 13), (500, 0.9, 39), (1000, 0.9, 85),
     (59, 0.95, 1), (100, 0.95, 2), (500, 0.95, 17), (1000, 0.95, 39), (25, 0.8, 2), (100, 0.8, 14), (1000, 0.8, 179),
     (28, 0.9, 0), (58, 0.95, 0), (0, 0.5, 0)],
)  # fmt: skip
def test_the_published_ranks(n: int, recall: float, rank: int) -> None:
    assert largest_rank(n, recall, 0.05) == rank


@pytest.mark.parametrize(
    ("recall", "delta", "n"),
    [(0.7, 0.05, 9), (0.8, 0.05, 14), (0.9, 0.05, 29), (0.95, 0.05, 59), (0.98, 0.05, 149), (0.99, 0.05, 299),
     (0.7, 0.1, 7), (0.8, 0.1, 11), (0.9, 0.1, 22), (0.95, 0.1, 45), (0.98, 0.1, 114), (0.99, 0.1, 230)],
)  # fmt: skip
def test_the_published_numbers_of_images(recall: float, delta: float, n: int) -> None:
    assert images_needed(recall, delta) == n


@given(st.integers(1, 400), st.floats(0.3, 0.99), st.floats(0.001, 0.3))
def test_the_rank_is_the_largest_that_the_binomial_law_allows(n: int, recall: float, delta: float) -> None:
    allowed = [r for r in range(1, n + 1) if scipy.stats.binom.cdf(r - 1, n, 1 - recall) <= delta]
    assert largest_rank(n, recall, delta) == (max(allowed) if allowed else 0)


@given(st.floats(0.3, 0.99), st.floats(0.001, 0.3), st.sampled_from([0.0, 0.2, 0.6]))
def test_images_needed_are_the_fewest(recall: float, delta: float, part: float) -> None:
    lost = part * (1 - recall)
    n = images_needed(recall, delta, lost)
    assert n is not None
    assert largest_rank(n, recall, delta) > np.ceil(lost * n)
    assert largest_rank(n - 1, recall, delta) <= np.ceil(lost * (n - 1)) or lost > 0


def test_no_number_of_images_makes_up_for_what_is_always_lost() -> None:
    assert images_needed(0.9, 0.05, 0.1) is None
    assert images_needed(0.9, 0.05, 0.0999999) is None
    near = images_needed(0.9, 0.05, 0.099)
    assert near is not None
    assert near > 100_000


def test_the_threshold_is_the_value_at_the_rank() -> None:
    values = np.random.default_rng(0).permutation(np.linspace(0.01, 1.0, 100))
    certificate = certify(values, recall=0.9, confidence=0.95)
    assert (certificate.rank, certificate.n, certificate.threshold) == (5, 100, pytest.approx(0.05))
    assert np.sum(values >= certificate.threshold) == 96


def test_joint_targets_share_the_error() -> None:
    values = np.linspace(0, 1, 200)
    assert certify(values, recall=0.9, confidence=0.95, joint=3).rank == largest_rank(200, 0.9, 0.05 / 3)


def test_not_certifiable_says_what_would_be() -> None:
    with pytest.raises(NotCertifiable, match="expected at least 29; they certify a recall of up to 0.741") as refused:
        certify(np.linspace(0, 1, 10), recall=0.9, confidence=0.95)
    assert refused.value.best_recall == pytest.approx(0.05 ** (1 / 10))
    assert refused.value.needed == 29
    with pytest.raises(NotCertifiable) as refused:
        certify([], recall=0.9, confidence=0.95)
    assert (refused.value.best_recall, refused.value.needed) == (0.0, 29)


def test_a_rank_among_lost_images_is_not_certifiable() -> None:
    values = np.concatenate([np.full(5, -np.inf), np.linspace(0.1, 1, 95)])
    with pytest.raises(NotCertifiable) as refused:
        certify(values, recall=0.9, confidence=0.95)
    best = refused.value.best_recall
    assert scipy.stats.binom.cdf(5, 100, 1 - best) == pytest.approx(0.05)
    assert refused.value.needed is not None


@pytest.mark.parametrize("bad", [0.5, [[0.5]], [np.nan], [1.5], [-0.1]])
def test_what_are_no_probabilities_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="expected probabilities"):
        certify(bad, recall=0.9, confidence=0.95)


@pytest.mark.parametrize(("recall", "confidence"), [(0.0, 0.9), (1.0, 0.9), (0.9, 0.0), (0.9, 1.0)])
def test_recall_and_confidence_are_between_0_and_1(recall: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        certify([0.5] * 100, recall=recall, confidence=confidence)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "recall"), [(59, 0.95), (100, 0.9), (200, 0.8)])
def test_the_promise_holds_in_simulation(n: int, recall: float, ties: bool) -> None:
    """True recall is known: values are uniform (or rounded to tenths), so recall at t is P(U ≥ t)."""
    rng = np.random.default_rng(n)
    missed = 0
    for _ in range(2000):
        values = rng.random(n)
        values = np.floor(values * 20) / 20 if ties else values
        t = certify(values, recall=recall, confidence=0.95).threshold
        true = 1 - np.ceil(t * 20 - 1e-9) / 20 if ties else 1 - t
        missed += true < recall - 1e-12
    assert missed / 2000 <= 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 2000)


def test_a_certificate_says_what_it_promises_and_assumes() -> None:
    text = str(certify(np.linspace(0.013, 1, 212), recall=0.95, confidence=0.95))
    assert "recall of the class ≥ 0.95 with confidence 0.95, from 212 held-out images, threshold 0.0" in text
    assert "chosen without looking at the tune labels" in text


def three_classes(n: int = 300, seed: int = 0) -> tuple[Holdout, np.ndarray]:
    """Two splits of n images of each of three classes, each class most probable on most of its own."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat([0, 1, 2], n), 2)
    z = rng.normal(0, 1.0, (len(labels), 3)) + 2.5 * np.eye(3)[labels]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    split = np.repeat(["tune", "test"], 3 * n)
    return Holdout(z, labels, split, np.arange(len(labels))), p


TARGETS = [Target(2, "c", 0.9), Target(1, "b", 0.8)]
UNIFORM = np.full(3, 1 / 3)


def test_certificates_of_targets_come_from_tune_alone_and_expectations_from_test() -> None:
    holdout, p = three_classes()
    found = certify_targets(TARGETS, holdout, p, UNIFORM, confidence=0.9, covers="flag", seed=0)
    for target, certificate in zip(TARGETS, found, strict=True):
        own = p[(holdout.labels == target.k) & (holdout.split == "tune"), target.k]
        assert certificate.threshold == np.sort(own)[largest_rank(300, target.recall, 0.05) - 1]
        assert (certificate.class_name, certificate.joint, certificate.n) == (target.name, 2, 300)
        test = holdout.split == "test"
        flagged = p[test, target.k] >= certificate.threshold
        by_hand = np.mean(holdout.labels[test][flagged] == target.k)  # equal counts at uniform priors
        expected = certificate.expected_precision
        assert expected is not None
        assert expected.value == pytest.approx(by_hand)
        assert expected.low < by_hand < expected.high


def test_covering_the_label_asks_more_of_later_classes_only() -> None:
    holdout, p = three_classes()
    torn = (holdout.labels == 1) & (np.arange(len(p)) % 10 == 0)  # a tenth of b looks as much like c as like b
    p = np.where(torn[:, None], [0.0, 0.7, 0.7], p)
    targets = [Target(2, "c", 0.8), Target(1, "b", 0.8)]
    flag = certify_targets(targets, holdout, p, UNIFORM, confidence=0.9, covers="flag", seed=0)
    label = certify_targets(targets, holdout, p, UNIFORM, confidence=0.9, covers="label", seed=0)
    assert label[0].threshold == flag[0].threshold <= 0.7, "c flags what is torn"
    assert label[1].threshold < flag[1].threshold


def test_a_target_whose_images_are_taken_names_the_class_that_takes_them() -> None:
    holdout, p = three_classes()
    greedy = [Target(0, "a", 0.99), Target(1, "b", 0.98)]
    with pytest.raises(NotCertifiable, match=r"; a, which comes first, takes \d+ of them") as refused:
        certify_targets(greedy, holdout, np.sqrt(p), UNIFORM, confidence=0.9, covers="label", seed=0)
    assert refused.value.faults[0].pointer == "/rule/targets/b"


def test_related_images_count_once() -> None:
    holdout, p = three_classes()
    grouped = Holdout(holdout.logits, holdout.labels, holdout.split, holdout.groups // 3)
    found = certify_targets(TARGETS, grouped, p, UNIFORM, confidence=0.9, covers="flag", seed=0)
    assert [certificate.n for certificate in found] == [100, 100]
    again = certify_targets(TARGETS, grouped, p, UNIFORM, confidence=0.9, covers="flag", seed=0)
    other = certify_targets(TARGETS, grouped, p, UNIFORM, confidence=0.9, covers="flag", seed=1)
    assert found == again
    assert found != other


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["flag", "label"]))
def test_on_the_tune_images_the_promise_holds_with_the_margin_that_the_rank_says(seed: int, covers: str) -> None:
    holdout, p = three_classes(seed=seed)
    found = certify_targets(TARGETS, holdout, p, UNIFORM, confidence=0.9, covers=covers, seed=0)
    taken = np.zeros(len(p), dtype=bool)
    for certificate, target in zip(found, TARGETS, strict=True):
        own = (holdout.labels == target.k) & (holdout.split == "tune")
        kept = p[:, target.k] >= certificate.threshold
        if covers == "label":
            kept &= ~taken
            taken |= kept
        assert kept[own].sum() == certificate.n - certificate.rank + 1


def test_the_expected_precision_is_that_of_what_is_certified() -> None:
    holdout, p = three_classes()
    order = [Target(0, "a", 0.8), Target(1, "b", 0.7)]
    test, pi = holdout.split == "test", np.array([0.2, 0.3, 0.5])
    for covers in ("flag", "label"):
        found = certify_targets(order, holdout, p, pi, confidence=0.9, covers=covers, seed=0)[1]
        called = p[:, 1] >= found.threshold
        if covers == "label":
            first = certify_targets(order, holdout, p, pi, confidence=0.9, covers=covers, seed=0)[0]
            called &= p[:, 0] < first.threshold
        shares = [np.mean(called[test & (holdout.labels == j)]) for j in range(3)]
        assert found.expected_precision is not None
        assert found.expected_precision.value == pytest.approx(pi[1] * shares[1] / (pi @ shares))


def test_a_certificate_prints_its_precision_short_and_its_numbers_whole() -> None:
    certificate = Certificate(0.99994489, 3, 212, 0.9999999, 0.95, expected_precision=Interval(1 / 3, 0.25, 0.5))
    text = str(certificate)
    assert "≥ 0.9999999 with" in text
    assert "threshold 0.9999, expected precision 0.33 [0.25, 0.50] at" in text


def test_images_needed_beyond_ten_million_are_not_named() -> None:
    assert images_needed(0.999999, 0.05) == int(np.ceil(np.log(0.05) / np.log(0.999999)))
    assert images_needed(0.9999999, 0.05) is None
    with pytest.raises(NotCertifiable, match="0.9999999 is not certifiable .* no number of them up to 10,000,000"):
        certify([0.5] * 10, recall=0.9999999, confidence=0.95)
