import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from tests.training.comparisons import cell_of, made
from training.compare_curves import (
    FPR,
    RECALL,
    class_mix,
    confusion,
    curves_of,
    mean_chance,
    precision_points,
    roc_points,
)


def test_a_roc_curve_passes_through_what_every_threshold_gives() -> None:
    rng = np.random.default_rng(0)
    positive, probability = rng.random(300) < 0.2, np.round(rng.random(300), 2)
    points, area = roc_points(positive, probability)
    reached = [((probability >= t)[~positive].mean(), (probability >= t)[positive].mean()) for t in probability]
    for false, best in {f: max(t for g, t in reached if g == f) for f, _ in reached}.items():
        below, above = np.searchsorted(FPR, false, "right") - 1, min(np.searchsorted(FPR, false), len(FPR) - 1)
        assert points[below] <= best + 1e-9
        assert points[above] >= best - 1e-9
    assert area == pytest.approx(roc_auc_score(positive, probability))
    assert np.trapezoid(points, FPR) == pytest.approx(area, abs=2e-3)
    assert (points[0], points[-1]) == (max((t for f, t in reached if f == 0), default=0), 1.0)


def test_precision_is_that_of_the_first_threshold_that_reaches_a_recall() -> None:
    rng = np.random.default_rng(1)
    positive, probability = rng.random(200) < 0.2, np.round(rng.random(200), 2)
    points, area = precision_points(positive, probability)
    flagged = [probability >= t for t in np.unique(probability)[::-1]]
    for recall, precision in zip(RECALL, points, strict=True):
        first = next(f for f in flagged if f[positive].mean() >= max(recall - 1e-9, 1e-9))
        assert precision == pytest.approx(positive[first].mean())
    assert area == pytest.approx(average_precision_score(positive, probability))


def test_mean_curves_are_means_over_classes_then_seeds() -> None:
    cells = made(4).of("focal")
    curves = curves_of(cells, 4)
    each = [[roc_points(cell.labels == k, cell.probabilities[:, k]) for k in range(4)] for cell in cells]
    np.testing.assert_allclose(curves.roc[0], np.mean([[roc for roc, _ in row] for row in each], axis=(0, 1)))
    np.testing.assert_allclose(curves.roc[2], np.mean([row[1][0] for row in each], axis=0))
    np.testing.assert_allclose(curves.auc[:, 0], [np.mean([area for _, area in row]) for row in each])


def test_a_class_without_test_images_has_no_curve_and_no_weight() -> None:
    cells = [replace(cell, labels=np.where(cell.labels == 2, 0, cell.labels)) for cell in made(3).of("focal")]
    curves = curves_of(cells, 3)
    assert np.isnan(curves.roc[3]).all()
    np.testing.assert_allclose(curves.roc[0], curves.roc[1:3].mean(axis=0))


def test_confusion_is_scikit_learns_by_frequency() -> None:
    cells = [cell_of("focal", seed, ("a", "b", "c"), 1.0) for seed in (0, 1)]
    expected = np.mean([confusion_matrix(c.labels, c.decisions["argmax"], normalize="true") for c in cells], axis=0)
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(confusion(cells, "argmax", order), expected[np.ix_(order, order)])


def test_an_abstention_is_no_decision_and_a_class_without_images_has_no_row() -> None:
    labels, decisions = np.array([0, 0]), {"argmax": np.array([-1, 0])}
    cell = replace(cell_of("focal", 0, ("a", "b"), 1.0), labels=labels, decisions=decisions)
    np.testing.assert_array_equal(confusion([cell], "argmax", np.arange(2)), [[0.5, 0.0], [math.nan, math.nan]])


def test_chance_is_the_share_of_a_class_mean_over_those_with_a_curve() -> None:
    cells = made(3).of("focal")
    mix = class_mix(cells, 3)
    np.testing.assert_allclose(mix, [0.335, 0.335, 0.33])
    assert mean_chance(mix) == pytest.approx(1 / 3)
    assert mean_chance(np.array([0.25, 0.75, 0.0])) == 0.5
    assert mean_chance(np.array([1.0, 0.0])) == 0.0
    np.testing.assert_array_equal(class_mix([], 2), [0, 0])
