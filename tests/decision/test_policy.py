import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision import (
    ABSTAIN,
    Calibration,
    Decisions,
    Holdout,
    Policy,
    PolicyDocument,
    PolicyError,
    adjust,
    parse_policy,
    softmax,
)
from decision.policy import compile_policy, deployment_priors, flaggable
from decision.rules import Flag, FlagInOrder
from tests.decision.policies import CLASSES as NAMES
from tests.decision.policies import PRIORS, RULES, held_out, policy_of
from tests.decision.strategies import CLASSES, logits, priors

PLAIN = Calibration(1.0, np.zeros(2))


def policy(
    rule: dict[str, object], *, classes: tuple[str, ...] = ("a", "b"), calibration: Calibration | None = None,
    calibration_priors: np.ndarray | None = None, **document: object,
) -> Policy:  # fmt: skip
    k = len(classes)
    parsed = parse_policy({"rule": rule} | document)
    return compile_policy(
        parsed, classes, calibration or Calibration(1.0, np.zeros(k)),
        np.full(k, 1 / k) if calibration_priors is None else calibration_priors,
    )  # fmt: skip


def decide(rule: dict[str, object], *probabilities: list[float], **document: object) -> Decisions:
    classes = tuple("abcdef"[: len(probabilities[0])])
    with np.errstate(divide="ignore"):
        z = np.maximum(np.log(probabilities), -700.0)
    return policy(rule, classes=classes, **document).decide(z)


def thresholds(**given_: float) -> dict[str, object]:
    return {"kind": "thresholds", "thresholds": given_}


@pytest.mark.parametrize(
    ("p", "flagged", "label"),
    [
        ([0.2999, 0.7001], False, 1),  # below
        ([0.3, 0.7], True, 0),  # at: p' >= t accepts
        ([0.3001, 0.6999], True, 0),  # above
        ([0.0, 1.0], False, 1),
        ([1.0, 0.0], True, 0),
    ],
)
def test_two_classes_and_one_threshold_is_iff(p: list[float], flagged: bool, label: int) -> None:
    exact = policy(thresholds(a=0.3)).rule
    probabilities = np.array([p])
    flags = exact.flags(probabilities)
    assert flags.tolist() == [[flagged, False]]
    assert exact.labels(probabilities, probabilities, flags).tolist() == [label]


@pytest.mark.parametrize(
    ("given_", "p", "flags", "label"),
    [
        ({"a": 0.2, "b": 0.4}, [0.3, 0.5, 0.2], [1, 1, 0], 0),  # both flagged: 1.5 against 1.25
        ({"a": 0.2, "b": 0.4}, [0.1, 0.3, 0.6], [0, 0, 0], 2),  # none: the open class
        ({"a": 0.2}, [0.1, 0.4, 0.5], [0, 0, 0], 2),  # none: the larger open class
        ({"a": 0.2}, [0.2, 0.7, 0.1], [1, 0, 0], 0),  # flagged beats a more probable open class
        ({"a": 0.6, "b": 0.7, "c": 0.8}, [0.35, 0.35, 0.3], [0, 0, 0], 0),  # all named, none flagged: largest ratio
        ({"a": 0.5, "b": 0.5, "c": 0.5}, [0.3, 0.35, 0.35], [0, 0, 0], 1),  # a tie goes to the first
    ],
)
def test_the_label_under_thresholds(given_: dict[str, float], p: list[float], flags: list[int], label: int) -> None:
    rule = policy(thresholds(**given_), classes=("a", "b", "c")).rule
    probabilities = np.array([p])
    found = rule.flags(probabilities)
    assert found.astype(int).tolist() == [flags]
    assert rule.labels(probabilities, probabilities, found).tolist() == [label]


def label_by_definition(p: np.ndarray, given_: dict[int, float]) -> int:
    """DESIGN 3.4 as a person would read it aloud."""
    flagged = [k for k, t in given_.items() if p[k] >= t]
    open_classes = [k for k in range(len(p)) if k not in given_]
    if flagged:
        return max(sorted(flagged), key=lambda k: p[k] / given_[k])
    if open_classes:
        return max(open_classes, key=lambda k: p[k])
    return max(range(len(p)), key=lambda k: p[k] / given_[k])


@given(st.data())
def test_thresholds_agree_with_their_definition(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    named = data.draw(st.sets(st.integers(0, k - 1), min_size=1))
    given_ = {i: data.draw(st.floats(0.001, 0.999)) for i in sorted(named)}
    classes = tuple("abcdefgh"[:k])
    decided = policy(thresholds(**{classes[i]: t for i, t in given_.items()}), classes=classes).decide(
        data.draw(logits(k))
    )
    assert decided.labels.tolist() == [label_by_definition(p, given_) for p in decided.probabilities]


@given(st.data())
def test_all_classes_named_is_decision_by_division(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    classes = tuple("abcdefgh"[:k])
    t = data.draw(st.lists(st.floats(0.01, 0.99), min_size=k, max_size=k))
    decided = policy(thresholds(**dict(zip(classes, t, strict=True))), classes=classes).decide(data.draw(logits(k)))
    assert decided.labels.tolist() == (decided.probabilities / np.array(t)).argmax(axis=1).tolist()


@given(st.data())
def test_raising_a_threshold_never_adds_its_class(data: st.DataObject) -> None:
    z = data.draw(logits(3))
    low, high = sorted(data.draw(st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99))))
    before, after = (policy(thresholds(a=t, b=0.3), classes=("a", "b", "c")).decide(z) for t in (low, high))
    assert not ((after.labels == 0) & (before.labels != 0)).any()
    assert not (after.flags & ~before.flags).any()


@given(st.data())
def test_probabilities_are_calibrated_then_adjusted(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    classes = tuple("abcdefgh"[:k])
    z, source, target = data.draw(logits(k)), data.draw(priors(k)), data.draw(priors(k))
    calibration = Calibration(data.draw(st.floats(0.2, 5)), np.linspace(-1, 1, k))
    decided = policy(
        {"kind": "argmax"}, classes=classes, calibration=calibration, calibration_priors=source,
        deployment_priors=dict(zip(classes, target.tolist(), strict=True)),
    ).decide(z)  # fmt: skip
    expected = adjust(calibration.probabilities(z), from_=source, to=target)
    np.testing.assert_allclose(decided.probabilities, expected, rtol=1e-9, atol=1e-300)
    best = decided.probabilities.max(axis=1)
    np.testing.assert_allclose(decided.probabilities[np.arange(len(z)), decided.labels], best, rtol=1e-9)


@given(st.data())
def test_the_rule_priors_does_not_depend_on_the_deployment_priors(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    classes = tuple("abcdefgh"[:k])
    z, source, target = data.draw(logits(k)), data.draw(priors(k)), data.draw(priors(k))
    deployments = ["calibration", "uniform", dict(zip(classes, target.tolist(), strict=True))]
    decided = [
        policy({"kind": "priors"}, classes=classes, calibration_priors=source, deployment_priors=to).decide(z)
        for to in deployments
    ]
    assert decided[0].labels.tolist() == decided[1].labels.tolist() == decided[2].labels.tolist()
    ratios = softmax(z) / source
    np.testing.assert_allclose(ratios[np.arange(len(z)), decided[0].labels], ratios.max(axis=1), rtol=1e-9)


@pytest.mark.parametrize("kind", ["argmax", "priors"])
def test_rules_that_divide_give_ties_to_the_first_class_and_no_flags(kind: str) -> None:
    decided = policy({"kind": kind}, classes=tuple("abcdefg")).decide(np.zeros((1, 7)))
    assert decided.labels.tolist() == [0]
    assert not decided.flags.any()


@given(st.data(), st.sampled_from([{"kind": "argmax"}, {"kind": "priors"}, thresholds(a=0.3)]))
def test_no_answer_depends_on_its_batch_mates(data: st.DataObject, rule: dict[str, object]) -> None:
    z = data.draw(logits(4))
    value = policy(rule, classes=tuple("abcd"), abstain_below=0.4)
    whole, rows = value.decide(z), [value.decide(row[None]) for row in z]
    np.testing.assert_array_equal(whole.labels, [row.labels[0] for row in rows])
    np.testing.assert_array_equal(whole.flags, [row.flags[0] for row in rows])
    np.testing.assert_array_equal(whole.probabilities, [row.probabilities[0] for row in rows])


@pytest.mark.parametrize(
    ("below", "p", "label"),
    [
        (0.0, [0.5, 0.5], 0),
        (0.6, [0.59, 0.41], ABSTAIN),
        (0.6, [0.61, 0.39], 0),
        (1.0, [0.99, 0.01], ABSTAIN),
    ],
)
def test_abstention(below: float, p: list[float], label: int) -> None:
    assert decide({"kind": "argmax"}, p, abstain_below=below).labels.tolist() == [label]


def test_abstention_never_breaks_a_flag() -> None:
    decided = decide(thresholds(a=0.3), [0.35, 0.34, 0.31], [0.25, 0.4, 0.35], abstain_below=0.9)
    assert decided.flags[:, 0].tolist() == [True, False]
    assert decided.labels.tolist() == [0, ABSTAIN]


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ([], [""]),
        ({"rules": {}}, ["/rules"]),
        ({"rule": 3}, ["/rule"]),
        ({"rule": {}}, ["/rule/kind"]),
        ({"rule": {"kind": "magic"}}, ["/rule/kind"]),
        ({"rule": {"kind": "recall"}}, ["/rule/targets"]),
        ({"rule": {"kind": "recall", "targets": {"a": 1.0}, "covers": "all"}}, ["/rule/targets/a", "/rule/covers"]),
        ({"rule": {"kind": "recall", "targets": {"a": 0.9}, "confidence": 0}}, ["/rule/confidence"]),
        ({"rule": {"kind": "cost", "costs": {"a": {"b": float("inf")}}}}, ["/rule/costs/a/b"]),
        ({"rule": {"kind": "priors", "thresholds": {}}}, ["/rule/thresholds"]),
        ({"rule": {"kind": "thresholds"}}, ["/rule/thresholds"]),
        ({"rule": thresholds()}, ["/rule/thresholds"]),
        ({"rule": thresholds(a=0.0, b=1.0)}, ["/rule/thresholds/a", "/rule/thresholds/b"]),
        ({"rule": {"kind": "thresholds", "thresholds": {"a/b": "x"}}}, ["/rule/thresholds/a~1b"]),
        ({"deployment_priors": "natural"}, ["/deployment_priors"]),
        ({"deployment_priors": {"a": True, "b": "0.5"}}, ["/deployment_priors/a", "/deployment_priors/b"]),
        ({"deployment_priors": {"a": float("nan"), "b": 1.0}}, ["/deployment_priors/a"]),
        ({"abstain_below": 1.5, "deployment_priors": None}, ["/deployment_priors", "/abstain_below"]),
    ],
)
def test_a_document_that_is_no_policy_is_pointed_at(document: object, pointers: list[str]) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(document)
    assert [fault.pointer for fault in refused.value.faults] == pointers


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"rule": thresholds(z=0.5)}, "/rule/thresholds/z"),
        ({"deployment_priors": {"a": 0.5, "b": 0.4}}, "/deployment_priors"),
        ({"deployment_priors": {"a": 0.5, "b": 0.4, "z": 0.1}}, "/deployment_priors/z"),
    ],
)
def test_a_policy_that_cannot_be_for_these_classes_is_pointed_at(document: dict[str, object], pointer: str) -> None:
    with pytest.raises(PolicyError) as refused:
        compile_policy(parse_policy(document), ("a", "b"), PLAIN, np.array([0.5, 0.5]))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_the_defaults_are_those_of_the_contract() -> None:
    assert parse_policy({}).model_dump(mode="json") == {
        "deployment_priors": "calibration", "rule": {"kind": "priors"}, "abstain_below": 0.0,
    }  # fmt: skip


def test_thresholds_by_class() -> None:
    half = np.array([0.25, 0.75])
    assert policy({"kind": "priors"}, calibration_priors=half).thresholds == {"a": 0.25, "b": 0.75}
    assert policy({"kind": "argmax"}).thresholds == {"a": 0.5, "b": 0.5}
    assert policy(thresholds(b=0.3)).thresholds == {"b": 0.3}


def test_a_decided_policy_is_not_mutable() -> None:
    value = policy({"kind": "priors"})
    with pytest.raises(ValueError, match="read-only"):
        value.deployment_priors[0] = 1.0


def offered(rule: dict[str, object], **document: object) -> PolicyDocument:
    """A document past the door."""
    return PolicyDocument.model_validate({"rule": rule} | document)


def holdout_of(k: int, n: int = 200, seed: int = 0) -> Holdout:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(k), n), 2)
    z = rng.normal(0, 1.0, (len(labels), k)) + 3 * np.eye(k)[labels]
    return Holdout(z, labels, np.repeat(["tune", "test"], k * n), np.arange(len(labels)))


def certified(rule: dict[str, object], k: int = 3, **document: object) -> Policy:
    classes = tuple("abcdefgh"[:k])
    calibration, priors_ = Calibration(1.0, np.zeros(k)), np.full(k, 1 / k)
    return compile_policy(offered(rule, **document), classes, calibration, priors_, holdout_of(k), seed=3)


@given(st.data())
def test_cost_agrees_with_brute_force_over_all_labels(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    classes = tuple("abcdefgh"[:k])
    z = data.draw(logits(k, 6.0))
    costs = {t: {c: data.draw(st.floats(0, 50)) for c in classes if c != t} for t in classes}
    document = offered({"kind": "cost", "costs": costs})
    decided = compile_policy(document, classes, Calibration(1.0, np.zeros(k)), np.full(k, 1 / k)).decide(z)
    for p, label in zip(decided.probabilities, decided.labels, strict=True):
        expected = [sum(p[j] * costs[classes[j]].get(c, 0.0) for j in range(k)) for c in classes]
        assert expected[label] <= min(expected) + 1e-9
    assert not decided.flags.any()


@given(st.data())
def test_equal_costs_are_argmax(data: st.DataObject) -> None:
    k = data.draw(CLASSES)
    classes = tuple("abcdefgh"[:k])
    z = data.draw(logits(k, 6.0))
    plain = (Calibration(1.0, np.zeros(k)), np.full(k, 1 / k))
    by_cost = compile_policy(offered({"kind": "cost", "costs": {}}), classes, *plain).decide(z)
    p = by_cost.probabilities
    np.testing.assert_allclose(p[np.arange(len(p)), by_cost.labels], p.max(axis=1))


def test_two_classes_with_costs_are_a_threshold() -> None:
    document = offered({"kind": "cost", "costs": {"a": {"b": 4.0}}})  # a missed a costs four false ones
    value = compile_policy(document, ("a", "b"), PLAIN, np.array([0.5, 0.5]))
    p = np.array([[0.19, 0.81], [0.21, 0.79]])
    assert value.decide(np.log(p)).labels.tolist() == [1, 0]
    assert value.thresholds == {}


def test_recall_labels_the_first_flagged_class_in_priority_order() -> None:
    targets = {"a": 0.9, "b": 0.9}
    value = certified({"kind": "recall", "targets": targets, "priority": ["b", "a"]})
    t = value.thresholds
    low, high = t["b"] + 0.01, 0.98 - t["b"]
    p = np.array([[high, low, 0.01], [0.98, 0.01, 0.01], [0.01, 0.01, 0.98]])
    flags = p >= np.array([t["a"], t["b"], 2.0])
    decided = value.decide(np.log(p))
    np.testing.assert_array_equal(decided.flags, flags)
    expected = [1 if f[1] else 0 if f[0] else 2 for f in flags]
    assert decided.labels.tolist() == expected
    assert flags[0, 1], "the less probable class comes first"


def test_recall_priority_is_the_rarest_first_under_the_deployment_priors() -> None:
    rule = {"kind": "recall", "targets": {"a": 0.9, "b": 0.9, "c": 0.9}}
    value = certified(rule, deployment_priors={"a": 0.3, "b": 0.1, "c": 0.6})
    assert [certificate.class_name for certificate in value.certificates] == ["b", "a", "c"]
    assert [c.class_name for c in certified(rule).certificates] == ["a", "b", "c"], "ties as in the bundle"


def test_a_change_of_deployment_priors_recomputes_the_thresholds_on_the_same_images() -> None:
    rule = {"kind": "recall", "targets": {"a": 0.9}}
    here, there = certified(rule), certified(rule, deployment_priors={"a": 0.05, "b": 0.05, "c": 0.9})
    assert here.certificates[0].rank == there.certificates[0].rank
    assert here.thresholds["a"] > there.thresholds["a"]


def test_a_certified_flag_is_never_abstained_from() -> None:
    value = certified({"kind": "recall", "targets": {"a": 0.9}}, abstain_below=1.0)
    decided = value.decide(holdout_of(3).logits)
    assert (decided.labels[decided.flags[:, 0]] == 0).all()
    assert (decided.labels[~decided.flags[:, 0]] == ABSTAIN).all()


@pytest.mark.parametrize(
    ("rule", "at", "says"),
    [
        ({"kind": "recall", "targets": {"z": 0.9}}, "/rule/targets/z", "unknown class"),
        ({"kind": "recall", "targets": {"a": 0.9}, "priority": ["b"]}, "/rule/priority", "expected each of ['a'] once"),
        ({"kind": "recall", "targets": {"a": 0.9, "b": 0.9}, "priority": ["a"]}, "/rule/priority", "got ['a']"),
        (
            {"kind": "recall", "targets": {"a": 0.999}},
            "/rule/targets/a",
            "0.999 of a is not certifiable with confidence 0.95 from 200",
        ),
        ({"kind": "cost", "costs": {"z": {}}}, "/rule/costs/z", "unknown class"),
        ({"kind": "cost", "costs": {"a": {"z": 1.0}}}, "/rule/costs/a/z", "unknown class"),
        ({"kind": "cost", "costs": {"a": {"a": 1.0}}}, "/rule/costs/a/a", "a right label costs 0"),
    ],
)
def test_recall_and_cost_that_cannot_be_are_pointed_at(rule: dict[str, object], at: str, says: str) -> None:
    with pytest.raises(PolicyError) as refused:
        certified(rule)
    assert refused.value.faults[0].pointer == at
    assert says in str(refused.value)


def test_recall_without_held_out_images_is_refused() -> None:
    with pytest.raises(PolicyError, match="needs held-out images"):
        compile_policy(offered({"kind": "recall", "targets": {"a": 0.9}}), ("a", "b"), PLAIN, np.array([0.5, 0.5]))


def test_labels_and_flags_are_said_by_name() -> None:
    value = certified({"kind": "recall", "targets": {"b": 0.9}})
    assert [value.label(label) for label in (0, 2, ABSTAIN)] == ["a", "c", None]
    assert value.named(np.array([True, False, True])) == ["a", "c"]
    assert value.by_class(np.array([0.5, 0.25, 0.25])) == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert value.thresholds == {"b": value.certificates[0].threshold}


def test_a_message_names_no_more_than_twenty() -> None:
    classes = tuple(f"class {i}" for i in range(300))
    document = PolicyDocument.model_validate(
        {"rule": {"kind": "recall", "targets": {f"x{i}": 0.9 for i in range(5000)}}}
    )
    with pytest.raises(PolicyError) as refused:
        compile_policy(document, classes, Calibration(1.0, np.zeros(300)), np.full(300, 1 / 300), holdout_of(3))
    assert len(refused.value.faults) == 5000
    assert "'class 19', …] (300 in all)" in str(refused.value)
    assert str(refused.value).endswith("; and 4,980 more")
    assert len(str(refused.value)) < 20_000


def test_the_smallest_thresholds_there_are_divide() -> None:
    value = compile_policy(parse_policy({"rule": thresholds(a=5e-324, b=5e-324)}), ("a", "b"), PLAIN, np.full(2, 0.5))
    assert value.decide([[-1.0, 1.0], [1.0, -1.0]]).labels.tolist() == [1, 0]


def test_a_billion_is_the_dearest_error() -> None:
    parse_policy({"rule": {"kind": "cost", "costs": {"a": {"b": 1e9}}}})
    with pytest.raises(PolicyError, match="less than or equal to 1000000000"):
        parse_policy({"rule": {"kind": "cost", "costs": {"a": {"b": 1e9 + 0.5}}}})


@pytest.mark.parametrize(("length", "shown"), [(58, "x" * 58 + "'"), (59, "x" * 59 + "…"), (500, "x" * 59 + "…")])
def test_a_long_value_is_shown_by_its_beginning(length: int, shown: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy({"deployment_priors": "x" * length})
    assert refused.value.faults[0].detail.endswith(f", got '{shown}")


def test_with_a_target_for_every_class_and_none_flagged_the_largest_ratio_is_the_label() -> None:
    value = certified({"kind": "recall", "targets": {"a": 0.8, "b": 0.8, "c": 0.8}})
    t = np.array([value.thresholds[name] for name in "abc"])
    assert (t > 1 / 3).all()
    p = np.array([[0.34, 0.33, 0.33], [0.33, 0.34, 0.33], [0.33, 0.33, 0.34], [0.3, 0.3, 0.4]])
    assert (p < t).all()
    decided = value.decide(np.log(p))
    assert not decided.flags.any()
    np.testing.assert_array_equal(decided.labels, (p / t).argmax(axis=1))


def test_unflagged_classes_with_a_threshold_each_compete_by_ratio() -> None:
    p = np.array([[0.75, 0.15, 0.1]])  # ratios 0.83, 0.3, 0.5; the smallest distance is that of the last
    for rule in (FlagInOrder(np.array([0.9, 0.5, 0.2]), (2, 1, 0)), Flag(np.array([0.9, 0.5, 0.2]))):
        flags = rule.flags(p)
        assert not flags.any()
        assert rule.labels(np.log(p), p, flags).tolist() == [0]


def test_a_threshold_of_0_comes_before_a_certain_class_without_one() -> None:
    p = np.array([[1.0, 0.0]])
    rule = FlagInOrder(np.array([np.nan, 0.0]), (1,))
    assert rule.labels(p, p, rule.flags(p)).tolist() == [1]


def test_a_right_label_may_be_said_to_cost_0() -> None:
    value = certified({"kind": "cost", "costs": {"a": {"a": 0.0, "b": 3.0}}})
    assert value.rule.costs.tolist() == [[0.0, 3.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", RULES, ids=[rule["kind"] for rule in RULES])
def test_what_a_document_says_without_being_compiled_is_what_it_says_compiled(rule: dict) -> None:
    named = dict(zip(NAMES, (0.1, 0.2, 0.3, 0.4), strict=True))
    for meant in ("calibration", "uniform", named):
        policy = policy_of(rule, held_out(), deployment_priors=meant)
        found = deployment_priors(policy.document, NAMES, PRIORS)
        np.testing.assert_array_equal(found, policy.deployment_priors)
        np.testing.assert_array_equal(flaggable(policy.document, NAMES), policy.rule.can_flag)
