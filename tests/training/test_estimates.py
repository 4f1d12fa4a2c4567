import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from tests.training.comparisons import made, with_metric
from training.comparison import BASELINE, RULES
from training.estimates import COLUMNS, Estimate, difference, estimate, value


@pytest.mark.parametrize(
    ("values", "beyond"),
    [
        ([0.1, 0.11, 0.12], 1),
        ([-0.1, -0.11, -0.12], -1),
        ([0.0, 0.1, 0.02], 0),
        ([0.1, 0.11], 0),
        ([0.1], 0),
        ([], 0),
        ([0.1, 0.1, 0.1], 1),
        ([0.0, 0.0, 0.0], 0),
        ([0.1, 0.11, math.nan], 0),
    ],
)
def test_a_difference_counts_beyond_two_errors_of_three_seeds(values: list[float], beyond: int) -> None:
    assert Estimate.of(values).beyond() == beyond


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_the_error_is_scipys_and_what_is_not_finite_is_left_out(values: list[float]) -> None:
    found = Estimate.of([*values, math.nan, math.inf])
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.error == pytest.approx(sem(values), abs=1e-12)
    assert found == Estimate.of(values)


@pytest.mark.parametrize(
    ("values", "text"), [([], "–"), ([math.nan], "–"), ([0.12345], "0.123"), ([0.1, 0.2, 0.3], "0.200 ± 0.058")]
)
def test_an_estimate_as_text(values: list[float], text: str) -> None:
    assert Estimate.of(values).text() == text


def test_a_metric_is_that_of_its_rule_and_nan_where_there_is_none() -> None:
    cell = made(seeds=(3,)).cells[0]
    assert value(replace(cell, metrics={"argmax": {"nll": 0.25}}), "argmax", "nll") == 0.25
    assert math.isnan(value(replace(cell, metrics={"argmax": {"nll": 0.25}}), "priors", "nll"))
    assert math.isnan(value(cell, "argmax", "unheard of"))
    assert value(cell, "argmax", "seconds") == 63.0


def test_differences_are_paired_by_the_seeds_that_both_have() -> None:
    values = {BASELINE: (0.5, 0.6, 0.7), "focal": (0.61, 0.72, 0.83)}
    whole = with_metric(made(methods=(BASELINE, "focal")), values, "nll")
    assert estimate(whole, "focal", "argmax", "nll") == Estimate.of([0.61, 0.72, 0.83])
    found = difference(whole, "focal", "argmax", "nll")
    assert (found.mean, found.n) == (pytest.approx(0.12), 3)
    assert found.error == pytest.approx(0.01 / math.sqrt(3)), "that of the differences, not of both means"
    torn = replace(
        whole, cells=tuple(c for c in whole.cells if (c.method, c.seed) not in {("focal", 0), (BASELINE, 2)})
    )
    assert difference(torn, "focal", "argmax", "nll").mean == pytest.approx(0.12)
    assert difference(torn, "focal", "argmax", "nll").n == 1


def test_every_column_is_a_metric_that_a_cell_has() -> None:
    cell = made().cells[0]
    assert all(math.isfinite(value(cell, rule, column.name)) for rule in RULES for column in COLUMNS)
    falling = ["ece_equal_mass_reweighted", "nll_reweighted", "seconds"]
    assert [column.name for column in COLUMNS if column.falling] == falling
    assert [column.name for column in COLUMNS if not column.judged] == ["seconds"]


def test_estimates_ask_for_no_scikit_learn() -> None:
    code = "import sys, training.estimates; sys.exit(any(m.split('.')[0] == 'sklearn' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
