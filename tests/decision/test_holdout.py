import numpy as np
import pytest

from decision import Holdout


def holdout() -> Holdout:
    """Groups 1 and 2 have images of two classes, group 3 of one; group 2 is torn apart by the splits."""
    labels = np.array([0, 0, 1, 0, 1, 1, 2, 0])
    groups = np.array([1, 1, 1, 2, 2, 2, 3, 2])
    split = np.array(["tune", "tune", "tune", "tune", "test", "test", "test", "test"])
    return Holdout(np.arange(24.0).reshape(8, 3), labels, split, groups)


def test_a_group_counts_as_one_image_of_each_class_in_each_split() -> None:
    assert holdout().shares.tolist() == [0.5, 0.5, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0]


def test_images_without_relatives_count_whole() -> None:
    single = Holdout(np.zeros((4, 2)), np.array([0, 1, 0, 1]), np.array(["tune", "test"] * 2), np.arange(4))
    assert single.shares.tolist() == [1.0] * 4


def test_a_part_has_the_images_of_one_split() -> None:
    part = holdout().part("test")
    assert part.labels.tolist() == [1, 1, 2, 0]
    assert part.shares.tolist() == [0.5, 0.5, 1.0, 1.0]
    np.testing.assert_array_equal(part.logits, holdout().logits[4:])


def test_one_of_each_group_is_drawn_by_the_seed() -> None:
    drawn = {tuple(holdout().one_a_group("tune", 0, seed).tolist()) for seed in range(20)}
    assert drawn == {(0, 3), (1, 3)}
    assert holdout().one_a_group("tune", 0, 7).tolist() == holdout().one_a_group("tune", 0, 7).tolist()
    assert holdout().one_a_group("tune", 2, 0).tolist() == []


def test_it_is_read_only_and_leaves_the_caller_s_arrays_as_they_are() -> None:
    logits = np.zeros((1, 2))
    frozen = Holdout(logits, np.array([0]), np.array(["tune"]), np.array([0]))
    with pytest.raises(ValueError, match="read-only"):
        frozen.logits[0, 0] = 1.0
    logits[0, 0] = 2.0
