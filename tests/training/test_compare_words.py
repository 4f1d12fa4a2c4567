from typing import Any

import pytest

from training.compare_words import breakable, fact, many


@pytest.mark.parametrize(("n", "text"), [(0, "0 classes"), (1, "1 class"), (2, "2 classes"), (1200, "1,200 classes")])
def test_one_or_many(n: int, text: str) -> None:
    assert many(n, "class", "classes") == text


def test_many_of_a_regular_word() -> None:
    assert (many(1, "seed"), many(3, "seed")) == ("1 seed", "3 seeds")


def test_a_name_breaks_before_its_dials_and_stays_text() -> None:
    assert breakable("focal:gamma=2,<b>") == "focal:<wbr>gamma=<wbr>2,&lt;b&gt;"


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ("a<b", "a<b"),
        (10_000, "10,000"),
        (True, "True"),
        (1234.5678, "1,234.57"),
        ([1, "a", (2.5,)], "1, a, 2.5"),
        ({"GPU": "one", "cores": 1600}, "GPU one, cores 1,600"),
        ({}, ""),
    ],
)
def test_a_fact_is_words(held: Any, text: str) -> None:
    assert fact(held) == text
