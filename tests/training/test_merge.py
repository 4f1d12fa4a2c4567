import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.merge import merge_classes, parse_merge

CLASSES = ("cat", "parrot", "dog", "penguin")


def test_a_merged_class_stands_where_its_first_member_did() -> None:
    classes, codes = merge_classes(CLASSES, {"birds": ["penguin", "parrot"]})
    assert classes == ("cat", "birds", "dog")
    assert codes.tolist() == [0, 1, 2, 1]


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(lambda homes: len(set(homes)) > 1))
def test_every_class_goes_to_its_own_home(homes: list[int]) -> None:
    classes = tuple("abcdef")
    merges = {f"new{h}": [c for c, home in zip(classes, homes, strict=True) if home == h] for h in set(homes)}
    found, codes = merge_classes(classes, merges)
    assert [found[k] for k in codes] == [f"new{h}" for h in homes]
    first_seen = np.unique(codes, return_index=True)[1]
    assert (np.diff(first_seen) > 0).all()  # class order


def test_a_name_of_a_merged_class_may_be_used_again() -> None:
    assert merge_classes(CLASSES, {"parrot": ["parrot", "penguin"]})[0] == ("cat", "parrot", "dog")
    assert merge_classes(CLASSES, {})[0] == CLASSES


@pytest.mark.parametrize(
    ("merges", "says"),
    [
        ({"birds": ["penguin", "owl"]}, r"some of the classes \['cat', .*\], got \['owl'\]"),
        ({"birds": ["penguin", "penguin"]}, r"each class once, got \['penguin'\]"),
        ({"birds": ["penguin", "dog"], "pets": ["cat", "dog"]}, r"each class once, got \['dog'\]"),
        ({"cat": ["penguin", "parrot"]}, r"expected new names.*got \['cat'\] of \['cat', 'parrot'"),
        ({"birds": []}, r"expected classes to merge into \['birds'\], got none"),
        ({"all": list(CLASSES)}, r"at least two distinct classes, got \['all'\]"),
    ],
)
def test_what_cannot_be_merged_is_refused(merges: dict[str, list[str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        merge_classes(CLASSES, merges)


def test_classes_that_are_not_distinct_are_refused() -> None:
    with pytest.raises(DataError, match=r"two distinct classes, got \['a', 'b', 'a'\]"):
        merge_classes(("a", "b", "a"), {})


def test_a_merge_as_text() -> None:
    assert parse_merge("birds=penguin,parrot") == ("birds", ("penguin", "parrot"))
    assert parse_merge("a=b=c,d") == ("a", ("b=c", "d"))


@pytest.mark.parametrize("text", ["", "birds", "birds=", "=penguin", "birds=penguin,", "birds=,penguin"])
def test_a_text_that_is_no_merge_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="like birds=penguin,parrot, got"):
        parse_merge(text)
