"""Audit samples: known probabilities, about as many as asked for, and estimates that any overlap leaves unbiased."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision import softmax
from decision.audit import Design, Draw, draw, shares
from decision.intervals import Array

DESIGNS: tuple[Design, ...] = ("random", "stratified")


def population(n: int, classes: int = 3, seed: int = 0) -> tuple[Array, np.ndarray]:
    """Calibrated probabilities, and truths drawn from them; each class is a tenth of the one before."""
    rng = np.random.default_rng(seed)
    p = softmax(rng.normal(0, 1.5, (n, classes)) - 2.3 * np.arange(classes))
    return p, (rng.random((n, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 300), st.integers(1, 400), st.lists(st.sampled_from(DESIGNS), max_size=3), st.sampled_from(DESIGNS),
    st.integers(0, 99),
)  # fmt: skip
def test_a_draw_takes_as_many_new_ones_as_asked_for_or_all_that_are_left(
    size: int, n: int, before: list[Design], design: Design, seed: int
) -> None:
    p, _ = population(size, seed=seed)
    earlier: list[Array] = []
    for one in before:
        earlier.append(draw(n, p, earlier, one).inclusion(p))
    inclusion = draw(n, p, earlier, design).inclusion(p)
    assert ((inclusion > 0) & (inclusion <= 1)).all()
    taken = np.max([np.zeros(size), *earlier], axis=0)
    assert np.maximum(inclusion - taken, 0).sum() == pytest.approx(min(n, (1 - taken).sum()), rel=1e-6, abs=1e-6)


def test_a_random_draw_treats_all_alike() -> None:
    p, _ = population(500)
    np.testing.assert_allclose(draw(40, p, [], "random").inclusion(p), 40 / 500)


def test_a_stratified_draw_expects_as_many_of_each_class_beside_a_random_half() -> None:
    p, _ = population(20_000)
    share = shares(p, "stratified").inclusion(p)
    assert share.sum() == pytest.approx(1)
    by_hand = 0.5 / len(p) + 0.5 * (p / p.sum(axis=0)).mean(axis=1)
    np.testing.assert_allclose(share, by_hand)
    certain = np.repeat(np.eye(3), (900, 90, 10), axis=0)
    of_each = shares(certain, "stratified").inclusion(certain) @ certain
    np.testing.assert_allclose(of_each, 0.5 * np.array([0.9, 0.09, 0.01]) + 0.5 / 3)


def test_a_class_that_no_answer_may_be_leaves_its_part_to_all() -> None:
    p = np.column_stack([population(100, 2)[0], np.zeros(100)])
    share = shares(p, "stratified").inclusion(p)
    assert share.sum() == pytest.approx(1)
    assert (share >= (0.5 + 0.5 / 3) / 100 - 1e-15).all()


def test_a_draw_asks_for_one_at_a_time_and_still_gets_on() -> None:
    """Sized by what was taken before, instead of by its expectation, it would stop at the first empty draw."""
    p, _ = population(200)
    earlier: list[Array] = []
    for asked in range(1, 51):
        earlier.append(draw(1, p, earlier, "random").inclusion(p))
        assert np.max(earlier, axis=0).sum() == pytest.approx(asked)


# Each call covers a part of the answers, from and to a share of them.
CALLS: tuple[tuple[int, Design, float, float], ...] = (
    (60, "random", 0.0, 0.6), (90, "stratified", 0.3, 1.0), (40, "random", 0.2, 1.0), (60, "stratified", 0.0, 1.0),
)  # fmt: skip


def test_recall_of_overlapping_calls_is_unbiased() -> None:
    """Horvitz–Thompson totals of hits and of positives over 3,000 repetitions, with each id's own number each time."""
    n = 1500
    p, truth = population(n)
    called, positive = p[:, 2] > 0.05, truth == 2
    rng = np.random.default_rng(1)
    draws: list[Draw] = []
    covered: list[Array] = []
    for asked, design, begin, end in CALLS:
        part = slice(int(begin * n), int(end * n))
        made = draw(asked, p[part], [one[part] for one in covered], design)
        draws.append(made)
        covered.append(np.where(np.isin(np.arange(n), np.arange(n)[part]), made.inclusion(p), 0.0))
    estimates = []
    for _ in range(3000):
        u = rng.random(n)
        highest = np.zeros(n)  # as the store keeps it: of what was drawn, raised by later calls
        for inclusion in covered:
            drawn = (u < inclusion) | (highest > 0)
            highest = np.where(drawn, np.maximum(highest, inclusion), 0.0)
        weights = np.divide(1.0, highest, out=np.zeros(n), where=highest > 0)
        estimates.append([weights.sum(), weights @ positive, weights @ (positive & called)])
    found = np.array(estimates)
    truths = np.array([n, positive.sum(), (positive & called).sum()])
    errors = (found.mean(axis=0) - truths) / (found.std(axis=0) / np.sqrt(len(found)))
    assert (np.abs(errors) < 4).all(), errors
    assert found[:, 2].sum() / found[:, 1].sum() == pytest.approx(truths[2] / truths[1], rel=0.03)
