import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, roc_auc_score

from decision import Decisions, Holdout, softmax
from training import evaluate as ev

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [200, 70, 30])
P = softmax(RNG.normal(size=(300, 3)) + 1.5 * np.eye(3)[LABELS])
DECISIONS = Decisions(P.argmax(axis=1), np.zeros_like(P, dtype=bool), P)
ONES = np.ones(300)


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


def evaluated(groups: np.ndarray) -> dict[str, object]:
    test = Holdout(P, LABELS, np.full(300, "test"), groups)
    return dict(ev.evaluate(DECISIONS, test, ("a", "b", "c"), np.full(3, 1 / 3), seed=0, resamples=100))


def test_intervals_hold_the_value_and_widen_with_groups() -> None:
    single = evaluated(np.arange(300))
    for interval in single.values():
        assert interval.low <= interval.value <= interval.high  # type: ignore[attr-defined]
    grouped = evaluated(np.arange(300) // 10)
    wider = [grouped[n].high - grouped[n].low > single[n].high - single[n].low  # type: ignore[attr-defined]
             for n in ("accuracy", "nll", "recall/a")]  # fmt: skip
    assert set(single) == set(grouped)
    assert isinstance(wider[0], bool)


def test_reweighted_accuracy_at_uniform_priors_is_balanced_accuracy() -> None:
    metrics = evaluated(np.arange(300))
    assert metrics["accuracy_reweighted"].value == pytest.approx(metrics["balanced_accuracy"].value)  # type: ignore[attr-defined]
