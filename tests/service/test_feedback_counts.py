"""What is counted of labels is what a plain loop over the labelled answers counts."""

from bisect import bisect_left
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from decision.outcomes import Outcomes
from service.families import BINS, DELAYS, DESIGNS, RESULTS, layout
from service.feedback_counts import TallyCounts
from service.rows import Rows
from service.tally import Tally

ONE_EACH = Rows(("a", "b", "c"), np.arange(3))
FOLDED = Rows(("b", "__other__"), np.array([1, 0, 1]))


def outcomes(n: int = 200) -> Outcomes:
    rng = np.random.default_rng(0)
    weights = np.where(rng.random(n) < 0.5, 0.0, 1 / rng.uniform(0.01, 1, n))
    return Outcomes(
        labels=rng.integers(-1, 3, n), flags=rng.random((n, 3)) < 0.3, can_flag=np.tile([True, False, True], (n, 1)),
        targets=rng.choice([0.0, 0.5, 0.9], (n, 3)),
        top=rng.integers(0, 3, n), confidence=rng.uniform(0.34, 1, n), weights=weights,
        known=np.ones(n, dtype=np.bool_), truth=rng.integers(-1, 3, n),
    )  # fmt: skip


@pytest.mark.parametrize("rows", [ONE_EACH, FOLDED])
def test_counts_are_those_of_a_plain_loop(tmp_path: Path, rows: Rows) -> None:
    tally = Tally(tmp_path, 1, layout(len(rows.names)))
    given, delays = outcomes(), np.random.default_rng(1).exponential(1e5, 200)
    TallyCounts(tally, rows).labelled(given, delays)
    sums: Counter[tuple[object, ...]] = Counter()
    for i in range(200):
        w, design = given.weights[i], "audit" if given.weights[i] else "review"
        for k in range(3):
            row = int(rows.of_class[k])
            true = given.truth[i] == k
            called = given.flags[i, k] if given.can_flag[i, k] else given.labels[i] == k
            for what, holds in (("labels", true), ("called", called), ("true_positives", true and called)):
                sums[what, row, design] += int(holds)
            both = true and called
            weighed = (("audit_weight", true, 1), ("audit_squared_weight", true, 2),
                       ("audit_true_positive_weight", both, 1), ("audit_true_positive_squared_weight", both, 2),
                       ("audit_called_weight", called, 1), ("audit_called_squared_weight", called, 2))  # fmt: skip
            target = given.targets[i, k]
            sums["audit_targeted_weight", row] += w * (true and target > 0)
            sums["audit_target_weight", row] += w * true * target
            for what, holds, power in weighed:
                sums[what, row] += holds * w**power
        bin_ = bisect_left([float(edge) for edge in BINS], given.confidence[i])
        sums["weight", bin_] += w
        sums["confidence", bin_] += w * given.confidence[i]
        sums["hits", bin_] += w * (given.top[i] == given.truth[i])
        sums["delay", bisect_left(DELAYS, delays[i])] += 1
    for (what, *place), value in sums.items():
        index = tuple(DESIGNS.index(one) if isinstance(one, str) else one for one in place)
        if what in ("weight", "confidence", "hits"):
            block = tally.block(f"equipoise_calibration_{what}_total")
        elif what == "delay":
            block = tally.block("equipoise_feedback_delay_seconds")
        else:
            block = tally.block(f"equipoise_feedback_{what}_total")
        assert block[index] == pytest.approx(value), (what, place)
    assert tally.block("equipoise_feedback_delay_seconds")[-1] == pytest.approx(delays.sum())


def test_a_draw_counts_the_label_again_and_results_have_their_names(tmp_path: Path) -> None:
    tally = Tally(tmp_path, 1, layout(3))
    counts, given = TallyCounts(tally, ONE_EACH), outcomes(20)
    counts.drawn(given)
    assert tally.block("equipoise_feedback_labels_total")[:, 0].sum() == (given.drawn & (given.truth >= 0)).sum()
    assert not tally.block("equipoise_feedback_delay_seconds").any()
    counts.items("not_kept", 3)
    assert tally.block("equipoise_feedback_items_total").tolist() == [0, 0, 0, 0, 0, 3]
    assert RESULTS[-1] == "not_kept"
