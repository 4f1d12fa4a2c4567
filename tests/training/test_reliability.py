from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from decision import softmax
from decision.intervals import wilson
from training import reliability as rel

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [200, 70, 30])
P = softmax(RNG.normal(size=(300, 3)) + 1.5 * np.eye(3)[LABELS])
ONES = np.ones(300)
WEIGHTS = RNG.uniform(0.1, 3.0, 300)


def naive_ece(confidence: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> float:
    error = 0.0
    for m in range(15):
        rows = [i for i, p in enumerate(confidence) if m / 15 < p <= (m + 1) / 15 or (m == 0 and p == 0)]
        if rows:
            accuracy, mean = (np.average(values[rows], weights=weights[rows]) for values in (hits, confidence))
            error += weights[rows].sum() / weights.sum() * abs(accuracy - mean)
    return error


def naive_equal_mass(confidence: np.ndarray, hits: np.ndarray, weights: np.ndarray) -> float:
    gaps, so_far = np.zeros(15), 0.0
    for i in sorted(range(len(confidence)), key=confidence.__getitem__):
        gaps[int((so_far + weights[i] / 2) / weights.sum() * 15)] += weights[i] * (hits[i] - confidence[i])
        so_far += weights[i]
    return float(np.abs(gaps).sum() / weights.sum())


weighted = pytest.mark.parametrize("weights", [ONES, WEIGHTS], ids=["unweighted", "weighted"])


@weighted
def test_nll_and_brier_are_scikit_learns(weights: np.ndarray) -> None:
    assert rel.nll(P, LABELS, weights) == pytest.approx(log_loss(LABELS, P, sample_weight=weights))
    reference = brier_score_loss(LABELS, P, sample_weight=weights, scale_by_half=False)
    assert rel.brier(P, LABELS, weights) == pytest.approx(reference)


@weighted
def test_the_calibration_errors_are_those_of_loops(weights: np.ndarray) -> None:
    confidence, hits = P.max(axis=1), P.argmax(axis=1) == LABELS
    assert rel.ece(P, LABELS, weights) == pytest.approx(naive_ece(confidence, hits, weights))
    assert rel.ece_equal_mass(P, LABELS, weights) == pytest.approx(naive_equal_mass(confidence, hits, weights))
    by_class = [naive_ece(P[:, k], k == LABELS, weights) for k in range(3)]
    assert rel.classwise_ece(P, LABELS, weights) == pytest.approx(np.mean(by_class))


def test_the_equal_mass_error_is_that_of_equal_parts() -> None:
    confidence, hits = P.max(axis=1), P.argmax(axis=1) == LABELS
    parts = np.array_split(np.argsort(confidence), 15)
    expected = np.mean([abs(confidence[part].mean() - hits[part].mean()) for part in parts])
    assert rel.ece_equal_mass(P, LABELS, ONES) == pytest.approx(expected)


made = st.builds(
    lambda seed, n, k, scale: (
        softmax(scale * np.random.default_rng(seed).normal(size=(n, k))),
        np.random.default_rng(seed + 1).integers(0, k, n),
        np.random.default_rng(seed + 2).uniform(0.1, 3.0, n),
    ),
    st.integers(0, 9999), st.integers(1, 60), st.integers(2, 6), st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
)  # fmt: skip
metrics = pytest.mark.parametrize("metric", rel.CALIBRATION.values(), ids=rel.CALIBRATION)


@metrics
@settings(deadline=None, max_examples=40)
@given(made)
def test_neither_order_nor_unit_of_weight_matters(metric: rel.Score, sample: tuple[np.ndarray, ...]) -> None:
    p, y, w = sample
    value = metric(p, y, w)
    shuffled = np.random.default_rng(0).permutation(len(y))
    assert metric(p[shuffled], y[shuffled], 7 * w[shuffled]) == pytest.approx(value, abs=1e-12)


@metrics
@settings(deadline=None, max_examples=40)
@given(made)
def test_an_image_of_twice_the_weight_is_two_images(metric: rel.Score, sample: tuple[np.ndarray, ...]) -> None:
    p, y, _ = sample
    weights = 1.0 + np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), weights.astype(int))
    assert metric(p[rows], y[rows], np.ones(len(rows))) == pytest.approx(metric(p, y, weights), abs=1e-12)


@metrics
@settings(deadline=None, max_examples=40)
@given(made)
def test_certainty_that_is_right_costs_nothing_and_wrong_the_most(
    metric: rel.Score, sample: tuple[np.ndarray, ...]
) -> None:
    p, y, w = sample
    k = p.shape[1]
    right, wrong = np.eye(k)[y], np.eye(k)[(y + 1) % k]
    assert metric(right, y, w) == 0.0
    assert 0.0 <= metric(p, y, w) <= metric(wrong, y, w) + 1e-12


@pytest.mark.parametrize(("name", "value"), [("brier", 2.0), ("ece", 1.0), ("ece_equal_mass", 1.0)])
def test_the_scale_is_the_papers(name: str, value: float) -> None:
    assert rel.CALIBRATION[name](np.eye(2)[[0, 0]], np.array([1, 1]), np.ones(2)) == pytest.approx(value)


def test_calibrated_probabilities_have_small_errors_and_sharpened_ones_large() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(0, 1.5, (50_000, 4))
    p, weights = softmax(z), np.ones(50_000)
    y = (rng.random((50_000, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    for name in ("ece", "ece_equal_mass", "classwise_ece"):
        metric = rel.CALIBRATION[name]
        assert metric(p, y, weights) < 0.01
        assert metric(softmax(2 * z), y, weights) > 0.05
    for proper in (rel.nll, rel.brier):
        assert proper(p, y, weights) < min(proper(softmax(t * z), y, weights) for t in (0.8, 1.25))


def test_a_rare_class_that_is_never_on_top_is_seen_by_the_classwise_error_alone() -> None:
    p = np.tile([0.8, 0.15, 0.05], (100, 1))
    swapped = np.repeat([0, 1, 2], [80, 5, 15])
    ones = np.ones(100)
    assert rel.ece(p, swapped, ones) == pytest.approx(0.0)
    assert rel.classwise_ece(p, swapped, ones) == pytest.approx(0.2 / 3)


@pytest.mark.parametrize(
    ("probability", "bin_"),
    [(0.0, 0), (1e-300, 0), (1 / 15, 0), (np.nextafter(1 / 15, 1), 1), (0.5, 7), (14 / 15, 13), (0.99, 14), (1.0, 14)],
)
def test_an_edge_belongs_to_the_bin_below(probability: float, bin_: int) -> None:
    assert rel.equal_width(np.array([probability])) == [bin_]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80), st.integers(1, 20))
def test_bins_of_equal_mass_rise_and_weigh_the_same(values: list[float], n_bins: int) -> None:
    p = np.array(values)
    bins = rel.equal_mass(p, np.ones(len(p)), n_bins)
    assert (np.diff(bins[np.argsort(p, kind="stable")]) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < n_bins
    largest_tie = np.unique(p, return_counts=True)[1].max()
    assert np.bincount(bins, minlength=n_bins).max() <= len(p) / n_bins + largest_tie


def test_bins_of_equal_mass_exist_where_nothing_weighs_anything() -> None:
    assert rel.equal_mass(np.array([0.0, 1.0]), np.zeros(2)).tolist() == [0, 0]


def test_a_diagram_is_its_bins_means_shares_and_wilson_limits() -> None:
    diagram = rel.top_diagram(P, LABELS, np.arange(300), n_bins=10)
    confidence, hits = P.max(axis=1), P.argmax(axis=1) == LABELS
    for m, part in enumerate(np.array_split(np.argsort(confidence), 10)):
        assert diagram.predicted[m] == pytest.approx(confidence[part].mean())
        assert diagram.observed[m] == pytest.approx(hits[part].mean())
        low, high = wilson(hits[part].sum(), 30)
        assert (diagram.low[m], diagram.high[m]) == pytest.approx((low, high))


def test_the_bins_of_a_class_are_equally_informative() -> None:
    diagram, p = rel.class_diagram(P, LABELS, np.arange(300), 2, n_bins=5), P[:, 2]
    bins, variance = rel.equal_mass(p, p * (1 - p), 5), p * (1 - p)
    assert np.bincount(bins, variance) == pytest.approx(variance.sum() / 5, abs=2 * variance.max())
    for m in range(5):
        assert diagram.predicted[m] == pytest.approx(p[bins == m].mean())
        assert diagram.observed[m] == pytest.approx((LABELS[bins == m] == 2).mean())


diagrams: list[Callable[[np.ndarray, np.ndarray, np.ndarray], rel.Diagram]] = [
    rel.top_diagram,
    lambda p, y, groups: rel.class_diagram(p, y, groups, 1, n_bins=10),
]


@pytest.mark.parametrize("draw", diagrams, ids=["top", "class"])
def test_copies_of_images_do_not_narrow_the_limits(draw: Callable[..., rel.Diagram]) -> None:
    rows = np.repeat(np.arange(300), 4)
    once, copied = draw(P, LABELS, np.arange(300)), draw(P[rows], LABELS[rows], rows)
    for name in ("predicted", "observed", "low", "high"):
        np.testing.assert_allclose(getattr(copied, name), getattr(once, name))


@pytest.mark.parametrize("draw", diagrams, ids=["top", "class"])
def test_the_limits_hold_calibrated_probabilities_19_times_of_20(draw: Callable[..., rel.Diagram]) -> None:
    rng = np.random.default_rng(2)
    held: list[bool] = []
    for _ in range(40):
        p = softmax(rng.normal(0, 2, (1500, 4)) + np.log([8, 4, 2, 1]))
        y = (rng.random((1500, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        d = draw(p, y, np.arange(1500))
        held += ((d.low <= d.predicted) & (d.predicted <= d.high)).tolist()
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


@given(made)
def test_limits_hold_the_share_and_stay_shares(sample: tuple[np.ndarray, ...]) -> None:
    p, y, _ = sample
    for draw in diagrams:
        d = draw(p, y, np.arange(len(y)) // 3)
        assert ((d.low >= 0) & (d.low <= d.observed) & (d.observed <= d.high) & (d.high <= 1)).all()
