"""Merge patches: RFC 7396's own table, and what is ours: another kind of rule replaces the rule whole."""

from copy import deepcopy
from typing import Any

import pytest

from service.merge_patch import merged, patched

APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), APPENDIX_A)
def test_the_rfc_s_own_cases(target: Any, patch: Any, result: Any) -> None:
    assert merged(target, patch) == result


THRESHOLDS = {"abstain_below": 0.1, "rule": {"kind": "thresholds", "thresholds": {"red": 0.2, "blue": 0.3}}}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"abstain_below": 0.5}, THRESHOLDS | {"abstain_below": 0.5}),
        ({"abstain_below": None}, {"rule": THRESHOLDS["rule"]}),
        ({"rule": {"thresholds": {"red": 0.4}}},
         THRESHOLDS | {"rule": {"kind": "thresholds", "thresholds": {"red": 0.4, "blue": 0.3}}}),
        ({"rule": {"kind": "thresholds", "thresholds": {"red": None}}},
         THRESHOLDS | {"rule": {"kind": "thresholds", "thresholds": {"blue": 0.3}}}),
        ({"rule": {"kind": "argmax"}}, THRESHOLDS | {"rule": {"kind": "argmax"}}),
        ({"rule": {"kind": "recall", "targets": {"red": 0.9}}},
         THRESHOLDS | {"rule": {"kind": "recall", "targets": {"red": 0.9}}}),
        ({"rule": None}, {"abstain_below": 0.1}),
        ({"rule": "argmax"}, THRESHOLDS | {"rule": "argmax"}),
        (7, 7),
    ],
)  # fmt: skip
def test_a_patch_of_a_policy(patch: Any, result: Any) -> None:
    before = deepcopy(THRESHOLDS)
    assert patched(THRESHOLDS, patch) == result
    assert before == THRESHOLDS
