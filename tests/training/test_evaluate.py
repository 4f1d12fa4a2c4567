import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from decision import Decisions, Holdout, Interval, softmax
from training import evaluate as ev

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [200, 70, 30])
P = softmax(RNG.normal(size=(300, 3)) + 1.5 * np.eye(3)[LABELS])
DECISIONS = Decisions(P.argmax(axis=1), np.zeros_like(P, dtype=bool), P)
ONES = np.ones(300)
PRIORS = np.full(3, 1 / 3)


def test_metrics_agree_with_scikit_learn() -> None:
    for weights in (ONES, RNG.random(300)):
        assert ev.accuracy(DECISIONS, LABELS, weights) == pytest.approx(
            accuracy_score(LABELS, DECISIONS.labels, sample_weight=weights)
        )
        assert ev.nll(DECISIONS, LABELS, weights) == pytest.approx(log_loss(LABELS, P, sample_weight=weights))
        assert ev.macro_auc(DECISIONS, LABELS, weights) == pytest.approx(
            roc_auc_score(LABELS, P, multi_class="ovr", sample_weight=weights)
        )
    assert ev.balanced_accuracy(DECISIONS, LABELS, ONES) == pytest.approx(
        balanced_accuracy_score(LABELS, DECISIONS.labels)
    )


def test_ece_agrees_with_a_six_line_loop() -> None:
    confidence, hit = P.max(axis=1), DECISIONS.labels == LABELS
    order = np.argsort(confidence)
    expected = 0.0
    for part in np.array_split(order, 15):
        expected += len(part) / 300 * abs(confidence[part].mean() - hit[part].mean())
    assert ev.ece(DECISIONS, LABELS, ONES) == pytest.approx(expected)


def test_ece_is_of_the_label_that_was_given_not_of_the_most_probable_class() -> None:
    second = Decisions(P.argsort(axis=1)[:, 1], DECISIONS.flags, P)
    assert ev.reliability(second, LABELS, ONES)[0].max() <= 0.5


def test_weights_are_what_duplicates_would_be() -> None:
    twice = np.concatenate([np.arange(300), np.arange(50)])
    weights = np.where(np.arange(300) < 50, 2.0, 1.0)
    doubled = Decisions(DECISIONS.labels[twice], DECISIONS.flags[twice], P[twice])
    for name in ("accuracy", "nll", "macro_auc", "macro_f1"):
        metric = ev.METRICS[name]
        assert metric(DECISIONS, LABELS, weights) == pytest.approx(metric(doubled, LABELS[twice], np.ones(350)))


def test_an_abstention_is_no_hit() -> None:
    none = Decisions(np.full(300, -1), DECISIONS.flags, P)
    assert ev.accuracy(none, LABELS, ONES) == 0.0
    assert ev.balanced_accuracy(none, LABELS, ONES) == 0.0


def evaluated(groups: np.ndarray) -> dict[str, Interval]:
    test = Holdout(P, LABELS, np.full(300, "test"), groups)
    return ev.evaluate(DECISIONS, test, ("a", "b", "c"), PRIORS, seed=0, resamples=100)


def test_intervals_hold_the_value_and_related_images_widen_them() -> None:
    single = evaluated(np.arange(300))
    for interval in single.values():
        assert interval.low <= interval.value <= interval.high
    # Ten copies of each of thirty images say no more than the thirty.
    rows = np.repeat(np.arange(0, 300, 10), 10)
    copies = Decisions(DECISIONS.labels[rows], DECISIONS.flags[rows], P[rows])
    related, unrelated = (
        ev.evaluate(copies, Holdout(P[rows], LABELS[rows], np.full(300, "test"), groups), tuple("abc"), PRIORS, 0)
        for groups in (rows, np.arange(300))
    )
    for name in ("accuracy", "nll", "recall/a"):
        wide, narrow = (m[name].high - m[name].low for m in (related, unrelated))
        assert wide > 1.5 * narrow


def test_a_recall_of_one_is_not_certain() -> None:
    perfect = Decisions(LABELS, DECISIONS.flags, P)
    test = Holdout(P, LABELS, np.full(300, "test"), np.arange(300))
    recall = ev.evaluate(perfect, test, tuple("abc"), PRIORS, seed=0, resamples=3)["recall/c"]
    assert (recall.value, recall.high) == (1.0, 1.0)
    assert recall.low == pytest.approx(0.025 ** (1 / 30))


def test_a_class_that_a_resample_of_groups_may_miss_has_an_interval() -> None:
    groups = np.where(LABELS == 2, 0, np.arange(300) // 3)
    for interval in evaluated(groups).values():
        assert np.isfinite([interval.low, interval.value, interval.high]).all()


def test_reweighted_accuracy_at_uniform_priors_is_balanced_accuracy() -> None:
    metrics = evaluated(np.arange(300))
    assert metrics["accuracy_reweighted"].value == pytest.approx(metrics["balanced_accuracy"].value)
