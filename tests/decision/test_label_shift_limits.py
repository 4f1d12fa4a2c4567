"""Limits of live priors: Wilson's where classes are told apart, and 95% whatever probabilities are worth."""

import numpy as np
import pytest
import scipy.optimize

from decision import softmax
from decision.intervals import Z, clopper_pearson, wilson
from decision.label_shift import Known, em, em_limits, estimate_priors
from decision.label_shift_limits import Separation

SOURCE = np.array([0.8, 0.15, 0.05])
SIZES = np.array([640, 120, 40])
REVERSED = SOURCE[::-1].copy()


def features(labels: np.ndarray, rng: np.random.Generator, sharpness: float = 2.0) -> np.ndarray:
    """Probabilities under SOURCE of Gaussian classes; of a `sharpness` other than 2 they are not calibrated."""
    x = rng.normal(size=(len(labels), 3)) + 2.0 * np.eye(3)[labels]
    return softmax(sharpness * x + np.log(SOURCE))


def held_out(seed: int, sharpness: float = 2.0, sizes: np.ndarray = SIZES) -> Known:
    labels = np.repeat(np.arange(3), sizes)
    return Known(features(labels, np.random.default_rng([seed, 0]), sharpness), labels, SOURCE)


def answers(mix: np.ndarray, n: int, seed: int, sharpness: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    return features(rng.choice(3, n, p=mix), rng, sharpness)


def separation(known: Known) -> Separation:
    return Separation.of(known.probabilities, known.labels, known.related)


def test_classes_that_are_told_apart_without_fault_have_wilsons_limits() -> None:
    labels = np.arange(300_000) % 3
    own = np.array([0.7, 0.25, 0.05])
    found = Separation.of(np.eye(3)[labels], labels, np.arange(len(labels))).limits(own, own, 200)
    np.testing.assert_allclose(found, wilson(own * 200, 200), atol=1e-4)


def test_marks_of_a_class_mean_one_of_its_images_and_nothing_of_others() -> None:
    known = held_out(0)
    marks = known.probabilities @ separation(known).weights.T
    np.testing.assert_allclose([marks[known.labels == j].mean(axis=0) for j in range(3)], np.eye(3), atol=1e-12)


def test_a_limit_is_where_the_score_is_z() -> None:
    """By a root finder, with a variance that is summed image by image."""
    known, n = held_out(1), 500
    live = answers(REVERSED, n, 1)
    marks = known.probabilities @ separation(known).weights.T
    mean = (live @ separation(known).weights.T).mean(axis=0)
    q = np.array([0.1, 0.2, 0.7])
    low, high = separation(known).limits(live.mean(axis=0), q, n)
    for k in range(3):

        def excess(own: float, k: int = k) -> float:
            mix = np.where(np.arange(3) == k, own, q * (1 - own) / (1 - q[k]))
            by_class = [marks[known.labels == j, k] for j in range(3)]
            second = sum(w * (g**2).mean() for w, g in zip(mix, by_class, strict=True))
            spread = [(((g - g.mean()) ** 2).sum() + 2) / (len(g) + 2) / len(g) for g in by_class]
            return float((mean[k] - own) ** 2 - Z**2 * ((second - own**2) / n + mix**2 @ np.array(spread)))

        for found, side in ((low[k], 0.0), (high[k], 1.0)):
            if 0 < found < 1:
                assert scipy.optimize.brentq(excess, mean[k], side) == pytest.approx(found, abs=1e-9)
            else:
                assert excess(side) <= 1e-9


def test_other_units_of_the_features_and_another_order_of_the_classes_change_nothing() -> None:
    known, live = held_out(2), answers(SOURCE, 300, 2).mean(axis=0)
    limits = np.array(separation(known).limits(live, SOURCE, 300))
    turned = np.random.default_rng(0).normal(size=(3, 3))
    other = Separation.of(known.probabilities @ turned, known.labels, known.related)
    np.testing.assert_allclose(other.limits(live @ turned, SOURCE, 300), limits, atol=1e-9)
    order = np.array([2, 0, 1])
    moved = Separation.of(known.probabilities[:, order], np.argsort(order)[known.labels], known.related)
    np.testing.assert_allclose(moved.limits(live[order], SOURCE[order], 300), limits[:, order], atol=1e-9)


def test_copies_of_images_in_one_group_add_nothing() -> None:
    known = held_out(3)
    rows = np.repeat(np.arange(len(known.labels)), 5)
    copies = Known(known.probabilities[rows], known.labels[rows], SOURCE, rows)
    one, other = (separation(each).limits(SOURCE, SOURCE, 1000) for each in (known, copies))
    np.testing.assert_allclose(one, other)


def test_more_answers_and_more_images_narrow_them_and_neither_alone_to_nothing() -> None:
    widths = {
        (m, n): np.subtract(*separation(held_out(4, sizes=SIZES * m)).limits(SOURCE, SOURCE, n)[::-1]).sum()
        for m in (1, 20)
        for n in (500, 10**9)
    }
    assert widths[20, 10**9] < 0.5 * min(widths[1, 10**9], widths[20, 500])
    assert max(widths[1, 10**9], widths[20, 500]) < widths[1, 500]


def test_so_few_images_that_any_share_would_fit() -> None:
    known = Known(np.eye(2)[[0, 1]], np.array([0, 1]), np.array([0.5, 0.5]))
    low, high = separation(known).limits(np.array([0.5, 0.5]), np.array([0.5, 0.5]), 10)
    assert ((low == 0) & (high == 1)).all()


@pytest.mark.parametrize("sharpness", [2.0, 3.0, 1.2])
@pytest.mark.parametrize("mix", [SOURCE, REVERSED, np.array([0.85, 0.15, 0.0])], ids=["same", "reversed", "no rarest"])
@pytest.mark.parametrize("method", ["em", "rlls", "bbse"])
def test_limits_hold_the_live_priors_95_times_in_100(method: str, mix: np.ndarray, sharpness: float) -> None:
    inside = []
    for seed in range(50):
        live = answers(mix, 600, seed, sharpness)
        found = estimate_priors(probabilities=live, method=method, holdout=held_out(seed, sharpness))
        inside.append((found.low <= mix + 1e-12) & (mix <= found.high + 1e-12))
    assert np.mean(inside) >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 150)


def test_an_estimate_that_is_shrunk_does_not_draw_its_limits_with_it() -> None:
    known, shown = held_out(5, sizes=SIZES // 10), np.array([30.0, 40.0, 130.0])
    plain, shrunk = (estimate_priors(counts=shown, method=method, holdout=known) for method in ("bbse", "rlls"))
    assert np.abs(shrunk.priors - plain.priors).max() > 0.02
    predicted = np.eye(3)[known.probabilities.argmax(axis=1)]
    limits = Separation.of(predicted, known.labels, known.related).limits(shown / 200, plain.priors, 200)
    for found in (plain, shrunk):
        least, most = clopper_pearson(found.priors * 200, 200)
        np.testing.assert_allclose(found.low, np.minimum(limits[0], least))
        np.testing.assert_allclose(found.high, np.maximum(limits[1], most))


def test_probabilities_that_are_too_sure_mislead_em_and_not_its_limits() -> None:
    known = held_out(0, 4.0, SIZES * 10)
    live = answers(REVERSED, 10_000, 0, 4.0)
    estimate = em(live, SOURCE)
    low, high = em_limits(estimate, live, known)
    assert ((low <= REVERSED) & (high >= REVERSED)).all()
    assert (estimate < low).any() or (estimate > high).any()
    found = estimate_priors(probabilities=live, method="em", holdout=known)
    np.testing.assert_array_equal(found.priors, estimate)
    assert ((found.low <= np.minimum(low, estimate)) & (np.maximum(high, estimate) <= found.high)).all()


def test_probabilities_that_mean_what_they_say_have_their_estimate_within() -> None:
    for seed in range(10):
        live = answers(REVERSED, 2000, seed)
        estimate = em(live, SOURCE)
        low, high = em_limits(estimate, live, held_out(seed))
        assert ((low <= estimate) & (estimate <= high)).all()


def test_posteriors_that_are_never_of_a_class_leave_everything_open() -> None:
    known = Known(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), np.array([0.5, 0.5]))
    low, high = em_limits(np.array([1.0, 0.0]), np.array([[1.0, 0.0]] * 9), known)
    assert ((low == 0) & (high == 1)).all()
