import numpy as np
import pytest

from decision.differences import (
    Changes,
    Pairs,
    mean_difference,
    precision_difference,
    recall_difference,
    share_difference,
)
from decision.intervals import Intervals
from decision.mixtures import Strata, precision

REPETITIONS = 2000


def paired(k: int, change: float, seed: int = 0) -> tuple[Strata, Pairs, np.ndarray, np.ndarray]:
    """Two policies' calls for class 0 over k classes, `(k, REPETITIONS)`, and what share of each class each calls."""
    rng = np.random.default_rng(seed)
    n = np.geomspace(2000, 100, k)[::-1].round()
    one = np.concatenate([[0.8], np.full(k - 1, 0.05)])
    only_one, only_other = one * change, np.minimum(one, 1 - one) * change / 2
    kinds = np.stack([one - only_one, only_one, only_other, 1 - one - only_other], axis=1)
    draws = np.stack([rng.multinomial(int(m), p, REPETITIONS) for m, p in zip(n, kinds, strict=True)]).astype(float)
    both, gained, lost = (draws[..., i] for i in range(3))
    strata = Strata(np.full(k, 1 / k), n)
    return strata, Pairs(both + gained, both + lost, both), one, one - only_one + only_other


def covers(found: Intervals, truth: float) -> float:
    return float(np.mean((found.low <= truth) & (truth <= found.high)))


@pytest.mark.parametrize(("k", "change"), [(2, 0.1), (2, 0.5), (12, 0.1), (12, 0.5)])
def test_differences_cover_about_95_percent(k: int, change: float) -> None:
    strata, pairs, one, other = paired(k, change)
    pi, own = strata.priors, np.zeros(REPETITIONS, dtype=int)
    recalls = recall_difference(pairs.gained[0], pairs.lost[0], np.full(REPETITIONS, strata.n[0]))
    assert 0.93 <= covers(recalls, one[0] - other[0]) <= 0.99
    assert 0.93 <= covers(share_difference(strata, pairs), pi @ (one - other)) <= 0.99
    precise = [pi[0] * calls[0] / (pi @ calls) for calls in (one, other)]
    assert 0.93 <= covers(precision_difference(strata, pairs, own), precise[0] - precise[1]) <= 0.99
    false = np.arange(k)[:, None] > 0
    gains, losses = (np.where(false, calls, 0.0) for calls in (pairs.gained, pairs.lost))
    most = false.astype(float)
    found = mean_difference(strata, Changes(gains, gains, most), Changes(losses, losses, most))
    assert 0.93 <= covers(found, pi[1:] @ (one - other)[1:]) <= 0.99


def test_pairing_is_worth_what_both_agree_on() -> None:
    strata, pairs, _, _ = paired(12, 0.02)
    own = np.zeros(REPETITIONS, dtype=int)
    alone = [precision(strata, hits, own) for hits in (pairs.hits, pairs.other)]
    unpaired = np.hypot(alone[0].high - alone[0].value, alone[1].value - alone[1].low)
    together = precision_difference(strata, pairs, own)
    assert np.median((together.high - together.value) / unpaired) < 0.5


def test_the_value_is_the_difference_and_swapping_turns_it_around() -> None:
    strata, pairs, _, _ = paired(5, 0.3)
    swapped = Pairs(pairs.other, pairs.hits, pairs.both)
    own = np.zeros(REPETITIONS, dtype=int)
    expected = precision(strata, pairs.hits, own).value - precision(strata, pairs.other, own).value
    np.testing.assert_allclose(precision_difference(strata, pairs, own).value, expected)
    for there, back in (
        (share_difference(strata, pairs), share_difference(strata, swapped)),
        (precision_difference(strata, pairs, own), precision_difference(strata, swapped, own)),
        (recall_difference(pairs.gained, pairs.lost, strata.n[:, None]),
         recall_difference(pairs.lost, pairs.gained, strata.n[:, None])),
    ):  # fmt: skip
        np.testing.assert_allclose(there.value, -back.value, atol=1e-15)
        np.testing.assert_allclose(there.low, -back.high, atol=1e-12)
        assert (there.low <= there.value).all()
        assert (there.value <= there.high).all()


def test_no_change_is_0_and_what_was_not_seen_keeps_it_from_being_certain() -> None:
    strata, pairs, _, _ = paired(5, 0.3)
    same = Pairs(pairs.hits, pairs.hits, pairs.hits)
    own = np.zeros(REPETITIONS, dtype=int)
    for found in (
        share_difference(strata, same),
        precision_difference(strata, same, own),
        recall_difference(same.gained, same.lost, strata.n[:, None]),
    ):
        assert (found.value == 0.0).all()
        assert ((found.low < 0.0) & (found.high > 0.0)).all()


def test_recall_difference_by_hand() -> None:
    """Bonett and Price 2012: 12 gained, 3 lost of 98: p = 13/100, q = 4/100."""
    found = recall_difference(np.array([12.0]), np.array([3.0]), np.array([98.0])).at(0)
    half = 1.959964 * np.sqrt((0.13 + 0.04 - 0.09**2) / 100)
    assert (found.value, found.low, found.high) == pytest.approx((9 / 98, 0.09 - half, 0.09 + half))


def test_where_there_is_nothing_to_compare_anything_may_be() -> None:
    nothing = recall_difference(np.zeros(1), np.zeros(1), np.zeros(1)).at(0)
    assert (np.isnan(nothing.value), nothing.low, nothing.high) == (True, -1.0, 1.0)
    hits, none = np.array([[9.0], [5.0]]), np.zeros((2, 1))
    strata = Strata(np.array([0.5, 0.5]), np.array([10.0, 100.0]))
    uncalled = precision_difference(strata, Pairs(hits, none, none), np.array([0])).at(0)
    assert (np.isnan(uncalled.value), uncalled.low, uncalled.high) == (True, -1.0, 1.0)
    unseen = Strata(np.array([0.5, 0.5]), np.array([10.0, 0.0]))
    found = share_difference(
        unseen, Pairs(np.array([[9.0], [0.0]]), np.array([[9.0], [0.0]]), np.array([[9.0], [0.0]]))
    )
    assert found.low[0] < -0.5
    assert found.high[0] > 0.5


def test_no_difference_is_beyond_1() -> None:
    strata = Strata(np.array([0.5, 0.5]), np.array([3.0, 3.0]))
    every, none = np.full((2, 1), 3.0), np.zeros((2, 1))
    for sign, pairs in ((1.0, Pairs(every, none, none)), (-1.0, Pairs(none, every, none))):
        found = share_difference(strata, pairs).at(0)
        assert found.value == sign
        assert (found.high if sign > 0 else found.low) == sign
        assert -1.0 <= found.low <= found.high <= 1.0
        recalls = recall_difference(pairs.gained, pairs.lost, np.full((2, 1), 3.0)).at(0, 0)
        assert (recalls.value, recalls.high if sign > 0 else recalls.low) == (sign, sign)
