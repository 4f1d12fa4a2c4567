"""Observed quality: equal weights are counts, parts add up, and intervals of audits hold the truth."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from decision.audit import draw
from decision.intervals import wilson
from decision.outcomes import Outcomes
from decision.quality import CohortSums
from decision.weighted import ClassFigures
from tests.decision.test_audit import population

K = 3
THRESHOLDS = np.array([np.nan, 0.3, 0.05])


def outcomes(p: np.ndarray, truth: np.ndarray, weights: np.ndarray, known: np.ndarray | None = None) -> Outcomes:
    """Flags by THRESHOLDS, labels by the most probable class."""
    flags = p >= THRESHOLDS
    return Outcomes(
        labels=p.argmax(axis=1), flags=flags, can_flag=np.broadcast_to(~np.isnan(THRESHOLDS), flags.shape),
        targets=np.zeros(flags.shape),
        top=p.argmax(axis=1), confidence=p.max(axis=1), weights=weights,
        known=weights > 0 if known is None else known, truth=truth,
    )  # fmt: skip


def some(n: int = 400, seed: int = 0, weights: Any = None, known: Any = None) -> Outcomes:
    p, truth = population(n, K, seed)
    return outcomes(p, truth, np.ones(n) if weights is None else weights, known)


def figures(sums: CohortSums) -> list[ClassFigures]:
    return [sums.flags.recall(), sums.flags.precision(), sums.labels.recall(), sums.labels.precision()]


def test_equal_weights_are_plain_shares_with_wilson_s_limits() -> None:
    found = some(weights=np.full(400, 7.5))
    labels = CohortSums.of(found).labels
    for estimates, score in ((labels.recall(), recall_score), (labels.precision(), precision_score)):
        by_reference = score(found.truth, found.labels, average=None, labels=range(K), zero_division=np.nan)
        np.testing.assert_allclose(estimates.intervals.value, by_reference)
        np.testing.assert_allclose(estimates.n_eff, estimates.n)
        low, high = wilson(by_reference * estimates.n, estimates.n)
        np.testing.assert_allclose(estimates.intervals.low, low, atol=1e-9)
        np.testing.assert_allclose(estimates.intervals.high, high, atol=1e-9)
    assert labels.recall().n.tolist() == np.bincount(found.truth, minlength=K).tolist()


def test_flags_are_judged_where_the_policy_could_flag() -> None:
    found = some()
    recall = CohortSums.of(found).flags.recall()
    assert np.isnan(recall.intervals.value[0])
    assert (recall.intervals.low[0], recall.intervals.high[0], recall.n[0]) == (0, 1, 0)
    for k in (1, 2):
        positives = found.truth == k
        assert recall.intervals.value[k] == pytest.approx(found.flags[positives, k].mean())
    called = found.called
    np.testing.assert_array_equal(called[:, 1:], found.flags[:, 1:])
    np.testing.assert_array_equal(called[:, 0], found.labels == 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 60))
def test_the_tallies_of_parts_add_up_to_that_of_the_whole(seed: int, n: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    whole = some(n, seed, rng.choice([0.0, 1.0, 2.5, 30.0], n), rng.random(n) < 0.7)
    parts = [Outcomes(**{name: values[part] for name, values in vars(whole).items()})
             for part in (slice(cut), slice(cut, None))]  # fmt: skip
    one, two = CohortSums.of(whole), CohortSums.of(parts[0]) + CohortSums.of(parts[1])
    for left, right in zip(figures(one), figures(two), strict=True):
        np.testing.assert_allclose(left.intervals.value, right.intervals.value)
        np.testing.assert_allclose(left.intervals.low, right.intervals.low)
        np.testing.assert_allclose(left.n_eff, right.n_eff)
        assert (left.intervals.low <= left.intervals.high + 1e-12).all()
    assert one.bins.error() == pytest.approx(two.bins.error())
    assert (one.drawn, one.known, one.reviewed) == (two.drawn, two.known, two.reviewed)


def test_no_label_says_nothing() -> None:
    sums = CohortSums.of(some(50, known=np.zeros(50, np.bool_)))
    for estimates in figures(sums):
        assert np.isnan(estimates.intervals.value).all()
        assert (estimates.n_eff == 0).all()
    assert sums.bins.error() is None


def test_labels_of_reviewed_flags_never_enter_recall() -> None:
    """A reviewer labels all that is flagged: outside an audit that counts apart; inside, one side alone says nothing,
    and beside an audit that is partly labelled it changes no estimate but by chance."""
    n = 30_000
    p, truth = population(n, K)
    flagged = (p >= THRESHOLDS).any(axis=1)
    outside = CohortSums.of(outcomes(p, truth, np.zeros(n), flagged))
    assert np.isnan(outside.flags.recall().intervals.value).all()
    assert outside.reviews.n.tolist() == np.bincount(truth[flagged], minlength=K).tolist()
    assert outside.reviewed == flagged.sum()

    drawn = np.random.default_rng(2).random(n) < 0.5
    alone = CohortSums.of(outcomes(p, truth, 2.0 * drawn, drawn & (p[:, 2] >= THRESHOLDS[2])))
    assert np.isnan(alone.flags.recall().intervals.value[2]), "it would be 1"

    half = drawn & (np.random.default_rng(3).random(n) < 0.3)
    beside = CohortSums.of(outcomes(p, truth, 2.0 * drawn, half | (drawn & (p[:, 2] >= THRESHOLDS[2]))))
    true = (truth == 2) & drawn
    naive = (true & (p[:, 2] >= THRESHOLDS[2])).sum() / (true & (half | (p[:, 2] >= THRESHOLDS[2]))).sum()
    recall = beside.flags.recall().intervals.at(2)
    population_s = (p[truth == 2, 2] >= THRESHOLDS[2]).mean()
    assert recall.low <= population_s <= recall.high
    assert naive - population_s > 2 * abs(recall.value - population_s)


def test_a_class_that_the_model_does_not_have_is_a_false_alarm_and_no_miss() -> None:
    p = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    sums = CohortSums.of(outcomes(p, np.array([1, -1]), np.ones(2)))
    assert sums.flags.precision().intervals.value[1] == 0.5
    assert sums.flags.recall().intervals.value[1] == 1.0


@pytest.mark.parametrize("weights", ["equal", "different"])
def test_the_calibration_error_is_the_definition_s(weights: str) -> None:
    rng = np.random.default_rng(4)
    found = some(500, weights=np.ones(500) if weights == "equal" else rng.uniform(1, 9, 500))
    error, whole = 0.0, found.weights.sum()
    for b in range(10):
        inside = (found.confidence > b / 10) & (found.confidence <= (b + 1) / 10)
        w, hits = found.weights[inside], found.top[inside] == found.truth[inside]
        error += abs((w * hits).sum() - (w * found.confidence[inside]).sum()) / whole
    bins = CohortSums.of(found).bins
    assert bins.error() == pytest.approx(error)
    assert bins.n_eff == pytest.approx(whole**2 / (found.weights**2).sum())


@pytest.mark.parametrize(("design", "n"), [("random", 600), ("stratified", 300), ("both", 200)])
def test_intervals_of_audits_hold_the_truth(design: Any, n: int) -> None:
    """600 audits of 6,000 answers; of figures that rest on 10 labels and more as a rule."""
    size, repetitions = 6000, 600
    p, truth = population(size, K, seed=5)
    designs = ("random", "stratified") if design == "both" else (design,)
    inclusions: list[np.ndarray] = []
    for one in designs:
        inclusions.append(draw(n, p, inclusions, one).inclusion(p))
    inclusion = np.max(inclusions, axis=0)
    truths = np.array([one.intervals.value for one in figures(CohortSums.of(outcomes(p, truth, np.ones(size))))])
    rng = np.random.default_rng(6)
    held, told, sums, labels = (np.zeros((4, K)) for _ in range(4))
    for _ in range(repetitions):
        drawn = np.flatnonzero(rng.random(size) < inclusion)
        found = figures(CohortSums.of(outcomes(p[drawn], truth[drawn], 1 / inclusion[drawn])))
        value, low, high = (np.array([getattr(one.intervals, name) for one in found])
                            for name in ("value", "low", "high"))  # fmt: skip
        told += ~np.isnan(value)
        held += ~np.isnan(value) & (low <= truths) & (truths <= high)
        sums += np.nan_to_num(value)
        labels += np.array([one.n for one in found])
    enough = labels / repetitions >= 10
    assert enough.sum() >= 7
    coverage, bias = held[enough] / told[enough], sums[enough] / told[enough] - truths[enough]
    assert (coverage >= 0.93).all(), coverage
    assert (np.abs(bias) < 0.015).all(), bias
