import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, roc_auc_score

from decision import Calibration, Decisions, Holdout, Interval, Policy, parse_policy, softmax
from decision.policy import compile_policy
from training import evaluate as ev
from training.reliability import CALIBRATION

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [200, 70, 30])
LOGITS = RNG.normal(size=(300, 3)) + 1.5 * np.eye(3)[LABELS]
P = softmax(LOGITS)
DECISIONS = Decisions(P.argmax(axis=1), np.zeros_like(P, dtype=bool), P)
ONES, ROWS = np.ones(300), np.arange(300)
CLASSES = ("a", "b", "c")
PRIORS = np.full(3, 1 / 3)
PLAIN = Calibration(1.0, np.zeros(3))


def policy(calibration: Calibration = PLAIN, **document: object) -> Policy:
    parsed = parse_policy({"rule": {"kind": "argmax"}} | document)
    return compile_policy(parsed, CLASSES, calibration, PRIORS)


def images(rows: np.ndarray = ROWS, logits: np.ndarray = LOGITS, groups: np.ndarray = ROWS) -> Holdout:
    return Holdout(logits[rows], LABELS[rows], np.full(300, "test"), groups)


def test_metrics_agree_with_scikit_learn() -> None:
    coarse = Decisions(DECISIONS.labels, DECISIONS.flags, P.round(1))  # with ties
    for weights in (ONES, RNG.random(300)):
        assert ev.accuracy(DECISIONS, LABELS, weights) == pytest.approx(
            accuracy_score(LABELS, DECISIONS.labels, sample_weight=weights)
        )
        assert ev.macro_f1(DECISIONS, LABELS, weights) == pytest.approx(
            f1_score(LABELS, DECISIONS.labels, average="macro", sample_weight=weights)
        )
        for decisions in (DECISIONS, coarse):
            aucs = [roc_auc_score(k == LABELS, decisions.probabilities[:, k], sample_weight=weights) for k in range(3)]
            assert ev.macro_auc(decisions, LABELS, weights) == pytest.approx(np.mean(aucs))
    assert ev.balanced_accuracy(DECISIONS, LABELS, ONES) == pytest.approx(
        balanced_accuracy_score(LABELS, DECISIONS.labels)
    )


def test_f1_counts_abstentions_as_misses_and_classes_that_nobody_named_as_0() -> None:
    labels = np.where(DECISIONS.labels == 1, -1, DECISIONS.labels)
    reference = f1_score(LABELS, labels, labels=range(3), average="macro", zero_division=0)
    assert ev.macro_f1(Decisions(labels, DECISIONS.flags, P), LABELS, ONES) == pytest.approx(reference)


def test_a_single_class_has_no_auc() -> None:
    assert np.isnan(ev.macro_auc(DECISIONS, np.zeros(300, dtype=int), ONES))


def test_weights_are_what_duplicates_would_be() -> None:
    twice = np.concatenate([np.arange(300), np.arange(50)])
    weights = np.where(np.arange(300) < 50, 2.0, 1.0)
    doubled = Decisions(DECISIONS.labels[twice], DECISIONS.flags[twice], P[twice])
    for name in ("accuracy", "macro_auc", "macro_f1"):
        metric = ev.METRICS[name]
        assert metric(DECISIONS, LABELS, weights) == pytest.approx(metric(doubled, LABELS[twice], np.ones(350)))


def test_an_abstention_is_no_hit() -> None:
    none = Decisions(np.full(300, -1), DECISIONS.flags, P)
    assert ev.accuracy(none, LABELS, ONES) == 0.0
    assert ev.balanced_accuracy(none, LABELS, ONES) == 0.0


def evaluated(groups: np.ndarray = ROWS, calibration: Calibration = PLAIN) -> dict[str, Interval]:
    return ev.evaluate(policy(calibration), images(groups=groups), PRIORS, seed=0, resamples=100)


def test_intervals_hold_the_value_and_related_images_widen_them() -> None:
    for interval in evaluated(calibration=Calibration(2.0, np.array([0.5, 0.0, -0.5]))).values():
        assert interval.low <= interval.value <= interval.high
    # Ten copies of each of thirty images say no more than the thirty.
    rows = np.repeat(np.arange(0, 300, 10), 10)
    related, unrelated = (ev.evaluate(policy(), images(rows, groups=groups), PRIORS, seed=0) for groups in (rows, ROWS))
    for name in ("accuracy", "nll", "brier", "recall/a"):
        wide, narrow = (m[name].high - m[name].low for m in (related, unrelated))
        assert wide > 1.5 * narrow


def test_a_recall_of_one_is_not_certain() -> None:
    perfect = images(logits=9.0 * np.eye(3)[LABELS])
    recall = ev.evaluate(policy(), perfect, PRIORS, seed=0, resamples=3)["recall/c"]
    assert (recall.value, recall.high) == (1.0, 1.0)
    assert recall.low == pytest.approx(0.025 ** (1 / 30))


def test_a_class_that_a_resample_of_groups_may_miss_has_an_interval() -> None:
    groups = np.where(LABELS == 2, 0, np.arange(300) // 3)
    for interval in evaluated(groups).values():
        assert np.isfinite([interval.low, interval.value, interval.high]).all()


def test_reweighted_accuracy_at_uniform_priors_is_balanced_accuracy() -> None:
    metrics = evaluated()
    assert metrics["accuracy_reweighted"].value == pytest.approx(metrics["balanced_accuracy"].value)


def test_the_weights_give_the_classes_their_priors() -> None:
    priors = np.array([0.5, 0.2, 0.3])
    weights = ev.mix_weights(LABELS, priors)
    np.testing.assert_allclose(np.bincount(LABELS, weights) / 300, priors)
    np.testing.assert_allclose(ev.mix_weights(LABELS, np.array([200, 70, 30]) / 300), 1.0)


def test_calibration_is_measured_before_and_after_as_it_is_and_reweighted() -> None:
    calibration = Calibration(1.7, np.array([0.4, 0.1, -0.5]))
    metrics, after = evaluated(calibration=calibration), calibration.probabilities(LOGITS)
    for suffix, weights in (("", ONES), ("_reweighted", ev.mix_weights(LABELS, PRIORS))):
        for name, metric in CALIBRATION.items():
            values = [metrics[form + suffix].value for form in (f"uncalibrated_{name}", name, f"{name}_change")]
            before, now = metric(P, LABELS, weights), metric(after, LABELS, weights)
            assert values == pytest.approx([before, now, now - before])


def test_the_deployment_priors_do_not_change_what_is_said_of_calibration() -> None:
    moved = policy(deployment_priors={"a": 0.05, "b": 0.05, "c": 0.9})
    here, there = (ev.evaluate(p, images(), PRIORS, seed=0, resamples=5) for p in (policy(), moved))
    assert here["accuracy"] != there["accuracy"]
    assert all(here[form] == there[form] for name in CALIBRATION for form in ev.before_after_change(name))


def test_a_calibration_that_does_nothing_changes_nothing_in_any_resample() -> None:
    for name in CALIBRATION:
        assert evaluated()[f"{name}_change"] == Interval(0.0, 0.0, 0.0)


def test_the_change_is_paired() -> None:
    metrics = evaluated(calibration=Calibration(1.1, np.zeros(3)))
    before, after, change = (metrics[form] for form in ev.before_after_change("nll"))
    assert change.high - change.low < 0.5 * min(before.high - before.low, after.high - after.low)


def test_an_evaluation_is_the_seeds() -> None:
    assert evaluated() == evaluated()


def test_the_table_shows_every_interval_once_and_reweighted_ones_beside_their_own() -> None:
    metrics = {"accuracy": Interval(0.9, 0.8, 0.95), "accuracy_reweighted": Interval(0.7, 0.6, 0.75),
               "recall/x": Interval(0.5, 0.4, 0.6), "recall/x_reweighted": Interval(0.3, 0.2, 0.35)}  # fmt: skip
    rule, head, *lines = ev.as_table(metrics, "priors").splitlines()
    assert rule == "labels by the rule priors, which is made for balanced accuracy, and gives up accuracy for it"
    assert [line.split() for line in lines] == [
        ["accuracy", "0.9000", "[0.8000,", "0.9500]", "0.7000", "[0.6000,", "0.7500]"],
        ["recall/x", "0.5000", "[0.4000,", "0.6000]"],
        ["recall/x_reweighted", "0.3000", "[0.2000,", "0.3500]"],  # a class of that name
    ]
    assert head.index("re-weighted") == lines[0].index("0.7000") - 1
