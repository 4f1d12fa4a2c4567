import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.methods import METHODS, Sampler

LABELS = np.repeat([0, 1, 2], [70, 20, 10])


def epochs(sampling: str, n: int, seed: int = 0) -> list[np.ndarray]:
    sampler = Sampler(sampling, LABELS, np.random.default_rng(seed))
    return [sampler.epoch() for _ in range(n)]


def test_natural_epochs_are_permutations() -> None:
    for drawn in epochs("natural", 3):
        assert sorted(drawn) == list(range(100))


@given(st.integers(0, 99))
def test_every_sampling_has_as_many_iterations_and_balanced_ones_balance(seed: int) -> None:
    for sampling in ("oversample", "undersample"):
        for drawn in epochs(sampling, 3, seed):
            assert len(drawn) == 100
            counts = np.bincount(LABELS[drawn])
            assert counts.max() - counts.min() <= 1


def test_oversampling_sees_every_image_before_any_comes_again() -> None:
    drawn = np.concatenate(epochs("oversample", 30))
    uses = np.bincount(drawn, minlength=100)
    for k in range(3):
        of_class = uses[k == LABELS]
        assert of_class.max() - of_class.min() <= 1


def test_undersampling_discards_all_but_as_many_as_the_rarest_class_has() -> None:
    used = np.unique(np.concatenate(epochs("undersample", 30)))
    assert np.bincount(LABELS[used]).tolist() == [10, 10, 10]


def test_the_order_is_shuffled_and_reproducible() -> None:
    first, again, other = (epochs("oversample", 1, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(LABELS[first], np.sort(LABELS[first]))


@pytest.mark.parametrize("name", ["two-phase-oversample", "two-phase-undersample"])
def test_two_phase_is_rebalanced_first_then_the_output_layer_at_a_tenth_on_natural_data(name: str) -> None:
    first, second = METHODS[name]
    assert (first.sampling, first.trainable, first.rate) == (name.removeprefix("two-phase-"), "all", 1.0)
    assert (second.sampling, second.trainable, second.rate) == ("natural", "head", 0.1)
