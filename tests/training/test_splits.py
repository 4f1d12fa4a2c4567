import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import Dataset
from training.errors import DataError
from training.imbalance import Imbalance, thin
from training.splits import folds, split, strata


def dataset(labels: list[int], groups: list[int] | None = None, parts: list[str] | None = None) -> Dataset:
    n = len(labels)
    k = max(labels) + 1
    return Dataset(
        "made", tuple(f"c{i}" for i in range(k)), np.zeros((n, 2, 2, 1), dtype=np.uint8), np.array(labels),
        np.arange(n) if groups is None else np.array(groups), np.array(parts or ["train"] * n),
    )  # fmt: skip


def rows_of(splits: object) -> list[np.ndarray]:
    return [getattr(splits, name) for name in ("train", "calibrate", "tune", "test")]


@given(st.lists(st.integers(4, 60), min_size=2, max_size=6), st.integers(0, 99))
def test_splits_are_disjoint_complete_stratified_and_never_without_a_class(sizes: list[int], seed: int) -> None:
    data = dataset([k for k, n in enumerate(sizes) for _ in range(n)])
    splits = split(data, None, seed)
    assert sorted(np.concatenate(rows_of(splits))) == list(range(sum(sizes)))
    shares = {"train": 0.8 * 0.6, "calibrate": 0.8 * 0.15, "tune": 0.8 * 0.25, "test": 0.2}
    for name, table in splits.counts(data).items():
        for n, size in zip(table.values(), sizes, strict=True):
            assert n >= 1
            assert abs(n - shares[name] * size) <= 2


@given(st.integers(0, 99))
def test_related_images_are_never_separated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 300)
    labels = rng.integers(0, 3, 60)[groups]
    splits = split(dataset(labels.tolist(), groups.tolist()), None, seed)
    homes = [set(groups[rows].tolist()) for rows in rows_of(splits)]
    assert sum(map(len, homes)) == len(set.union(*homes))


def test_a_given_test_part_is_the_test_split_and_val_is_halved() -> None:
    parts = ["train"] * 40 + ["val"] * 20 + ["test"] * 10
    splits = split(dataset([0, 1] * 35, parts=parts), None, 0)
    assert splits.test.tolist() == list(range(60, 70))
    assert splits.train.tolist() == list(range(40))
    assert len(splits.calibrate) == len(splits.tune) == 10
    assert sorted([*splits.calibrate, *splits.tune]) == list(range(40, 60))


def test_without_a_holdout_all_but_test_is_train() -> None:
    splits = split(dataset([0, 1] * 50), None, 0, holdout=False)
    assert [len(rows) for rows in rows_of(splits)] == [80, 0, 0, 20]


def test_the_same_seed_gives_the_same_splits() -> None:
    data = dataset([0, 1, 2] * 50)
    first, again, other = split(data, None, 3), split(data, None, 3), split(data, None, 4)
    np.testing.assert_array_equal(np.concatenate(rows_of(first)), np.concatenate(rows_of(again)))
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize(
    ("labels", "groups"), [([0] * 20 + [1] * 3, None), ([0] * 20 + [1] * 8, [*range(20)] + [99] * 8)]
)
def test_a_class_needs_four_images_or_groups(labels: list[int], groups: list[int] | None) -> None:
    with pytest.raises(DataError, match=r"class 'c1' has \d images \(groups\); expected at least 4"):
        split(dataset(labels, groups), None, 0)


def test_four_are_enough() -> None:
    counts = split(dataset([0] * 50 + [1] * 4), None, 0).counts(dataset([0] * 50 + [1] * 4))
    assert [table["c1"] for table in counts.values()] == [1, 1, 1, 1]


def test_a_given_test_part_without_a_class_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="the test split has no image of c1"):
        split(dataset([0, 1] * 20 + [0] * 5, parts=["train"] * 40 + ["test"] * 5), None, 0)


def test_a_group_that_the_source_tore_apart_is_refused() -> None:
    groups = [*range(40), 0, *range(41, 60)]
    with pytest.raises(DataError, match=r"the group of image train\[0\] is in"):
        split(dataset([0, 1] * 30, groups, ["train"] * 40 + ["test"] * 20), None, 0)


def test_strata_are_each_groups_rarest_class() -> None:
    names, stratum = strata(np.array([0, 0, 0, 1, 1, 2]), np.array([7, 7, 8, 8, 9, 9]))
    assert names.tolist() == [7, 8, 9]
    assert stratum.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("step:mu=0.5,rho=10", [1000, 1000, 100, 100]),
        ("step:mu=0.25,rho=2", [1000, 1000, 1000, 500]),
        ("linear:rho=10", [1000, 700, 400, 100]),
        ("exponential:rho=1000", [1000, 100, 10, 1]),
        ("exponential:rho=8,most=80", [80, 40, 20, 10]),
        ("step:rho=1", [1000] * 4),
    ],
)
def test_imbalance_profiles(text: str, counts: list[int]) -> None:
    data = dataset([0, 1, 2, 3] * 1000)
    kept = thin(data, Imbalance.parse(text), np.arange(4000), np.random.default_rng(0))
    assert np.bincount(data.labels[kept]).tolist() == counts
    assert len(set(kept.tolist())) == len(kept)


def test_the_long_tail_of_cifar10_is_the_published_one() -> None:
    sizes = [int(5000 * share) for share in Imbalance.parse("exponential:rho=100").profile(10)]
    assert sizes == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_a_class_with_fewer_than_its_share_keeps_what_it_has() -> None:
    data = dataset([0] * 100 + [1] * 5)
    kept = thin(data, Imbalance.parse("step:rho=2"), np.arange(105), np.random.default_rng(0))
    assert np.bincount(data.labels[kept]).tolist() == [100, 5]


def test_test_images_are_never_thinned() -> None:
    data = dataset([0, 1] * 100, parts=["train"] * 150 + ["test"] * 50)
    splits = split(data, Imbalance.parse("step:rho=5"), 0)
    assert len(splits.test) == 50
    assert sum(len(rows) for rows in rows_of(splits)) == 50 + 75 + 15


@pytest.mark.parametrize(
    "text", ["", "step", "step:rho=x", "step:rho=0.5", "step:mu=1,rho=2", "ramp:rho=2", "step:rho=2,n=3"]
)
def test_an_imbalance_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="expected"):
        Imbalance.parse(text)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.integers(1, 4), st.integers(0, 99))
def test_folds_are_even_stratified_and_keep_groups_whole(labels: list[int], related: int, seed: int) -> None:
    y, groups = np.array(labels), np.arange(len(labels)) // related
    if len(np.unique(groups)) < 2:
        return
    fold = folds(y, groups, 5, np.random.default_rng(seed))
    names, stratum = strata(y, groups)
    fewest = np.unique(stratum, return_counts=True)[1].min()
    n_folds = min(max(fewest, 2), 5)
    home = np.array([fold[groups == g][0] for g in names])
    np.testing.assert_array_equal(home[np.searchsorted(names, groups)], fold)
    for members in (home, *(home[stratum == k] for k in np.unique(stratum))):
        assert np.ptp(np.bincount(members, minlength=n_folds)) <= 1
    assert len(np.bincount(fold)) == n_folds


def test_folds_are_dealt_by_chance() -> None:
    dealt = [folds(np.arange(20) % 2, np.arange(20), 5, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert dealt[0] == dealt[1] != dealt[2]
