import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.sampling import NATURAL, Sampler, Sampling

LABELS = np.repeat([0, 1, 2], [70, 20, 10])
KINDS = ("natural", "oversample", "undersample", "mixture")
counts_of_classes = st.lists(st.integers(1, 500), min_size=2, max_size=8).map(np.array)
ratios = st.floats(0.01, 1.0)


def epochs(sampling: Sampling, n: int, seed: int = 0, labels: np.ndarray = LABELS, batch: int = 16) -> list[np.ndarray]:
    sampler = Sampler(sampling, labels, batch, np.random.default_rng(seed))
    return [np.concatenate(sampler.epoch()) for _ in range(n)]


@pytest.mark.parametrize(
    ("kind", "ratio", "sizes"),
    [
        ("natural", 1.0, [1000, 100, 10]),
        ("oversample", 1.0, [1000, 1000, 1000]),
        ("oversample", 0.5, [1000, 500, 500]),
        ("oversample", 0.05, [1000, 100, 50]),
        ("undersample", 1.0, [10, 10, 10]),
        ("undersample", 0.5, [20, 20, 10]),
        ("undersample", 0.05, [200, 100, 10]),
        ("mixture", 1.0, [100, 100, 100]),
        ("mixture", 0.25, [200, 100, 50]),
    ],
)
def test_class_sizes_after_resampling(kind: str, ratio: float, sizes: list[float]) -> None:
    np.testing.assert_allclose(Sampling(kind, ratio).sizes(np.array([1000, 100, 10])), sizes)


@given(counts_of_classes, st.sampled_from(KINDS), ratios)
def test_resampling_reaches_its_ratio_and_never_reverses_the_order(counts: np.ndarray, kind: str, ratio: float) -> None:
    sizes = Sampling(kind, ratio).sizes(counts)
    before = counts.min() / counts.max()
    expected = before if kind == "natural" else max(before, ratio)
    assert sizes.min() / sizes.max() == pytest.approx(expected)
    assert (np.diff(sizes[np.argsort(counts, kind="stable")]) >= -1e-9).all()
    if kind == "oversample":
        assert (sizes >= counts - 1e-9).all()
    if kind == "undersample":
        assert (sizes <= counts + 1e-9).all()


def test_natural_epochs_are_permutations() -> None:
    for drawn in epochs(NATURAL, 3):
        assert sorted(drawn) == list(range(100))


@given(st.integers(0, 99), st.sampled_from(KINDS), ratios)
def test_a_class_gets_its_share_of_each_epoch_to_within_an_image(seed: int, kind: str, ratio: float) -> None:
    sampling = Sampling(kind, ratio)
    expected = 100 * sampling.mix(np.bincount(LABELS))
    for drawn in epochs(sampling, 3, seed):
        assert len(drawn) == 100
        assert np.abs(np.bincount(LABELS[drawn], minlength=3) - expected).max() <= 1


def test_shares_are_exact_in_expectation() -> None:
    drawn = np.concatenate(epochs(Sampling("oversample", 0.3), 2000, batch=100))
    expected = Sampling("oversample", 0.3).mix(np.bincount(LABELS))
    observed = np.bincount(LABELS[drawn], minlength=3) / len(drawn)
    np.testing.assert_allclose(observed, expected, atol=5e-4)  # 5 standard errors of systematic rounding


@pytest.mark.parametrize("batch", [1, 7, 16, 100, 1000])
def test_batches_differ_by_at_most_an_image_and_keep_the_limit(batch: int) -> None:
    for sampling in (NATURAL, Sampling("oversample"), Sampling("oversample", every_batch=batch >= 3)):
        sampler = Sampler(sampling, LABELS, batch, np.random.default_rng(0))
        sizes = [len(rows) for rows in sampler.epoch()]
        assert len(sizes) == sampler.steps
        assert sum(sizes) == 100
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 99), st.integers(3, 40))
def test_every_batch_holds_every_class_where_it_has_room(seed: int, batch: int) -> None:
    sampler = Sampler(Sampling("oversample", every_batch=True), LABELS, batch, np.random.default_rng(seed))
    for rows in sampler.epoch():
        counts = np.bincount(LABELS[rows], minlength=3)
        assert counts.max() - counts.min() <= 1
        assert counts.min() >= 1 or len(rows) < 3


def test_a_batch_that_cannot_hold_every_class_is_refused() -> None:
    every = Sampling("oversample", every_batch=True)
    with pytest.raises(DataError, match="room for each of 3 classes, got batches of 2 images: raise --batch-size"):
        Sampler(every, LABELS, 2, np.random.default_rng(0))
    with_gaps = np.where(LABELS == 1, 0, LABELS)
    assert Sampler(every, with_gaps, 2, np.random.default_rng(0)).steps == 50, "a class without images needs no room"


def test_oversampling_sees_every_image_before_any_comes_again() -> None:
    uses = np.bincount(np.concatenate(epochs(Sampling("oversample"), 30)), minlength=100)
    for k in range(3):
        assert np.ptp(uses[k == LABELS]) <= 1


@pytest.mark.parametrize(("sampling", "kept"), [
    (Sampling("undersample"), [10, 10, 10]), (Sampling("undersample", 0.2), [50, 20, 10]),
    (Sampling("mixture"), [27, 20, 10]),  # √(70·10) = 26.5
])  # fmt: skip
def test_a_cut_class_is_cut_to_one_draw(sampling: Sampling, kept: list[int]) -> None:
    used = np.unique(np.concatenate(epochs(sampling, 60)))
    assert np.bincount(LABELS[used]).tolist() == kept


def test_the_order_is_shuffled_and_reproducible() -> None:
    first, again, other = (epochs(Sampling("oversample"), 1, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(LABELS[first], np.sort(LABELS[first]))


def test_a_class_without_images_is_never_drawn() -> None:
    labels = np.repeat([0, 2], [30, 10])
    for kind in KINDS:
        drawn = epochs(Sampling(kind), 2, labels=labels)
        assert set(labels[np.concatenate(drawn)]) == {0, 2}
        assert Sampling(kind).sizes(np.bincount(labels))[1] == 0
