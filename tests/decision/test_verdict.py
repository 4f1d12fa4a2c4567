from typing import Any

import pytest

from decision.drift import LEAST_SCORES, LONG
from decision.intervals import Interval
from decision.verdict import verdict

CRACK: dict[str, Any] = {
    "observed": 171.0, "expected": 90.0, "z": 6.2, "n": 4_210, "least_score": LEAST_SCORES[LONG], "p_value": 0.4,
    "estimate": Interval(0.041, 0.033, 0.049), "configured": 0.018,
}  # fmt: skip
SHIFTED = "share of *crack* 1.9× what the priors then in force imply, n = 4,210, beyond chance; "
PRIORS = "estimated prevalence 0.041 [0.033, 0.049], configured 0.018"


@pytest.mark.parametrize(
    ("given", "state", "words"),
    [
        ({}, "beyond chance", SHIFTED + f"consistent with a change of priors; {PRIORS}"),
        ({"p_value": 0.0099}, "beyond chance",
         SHIFTED + "a change of priors alone does not explain it: look at images, for a camera or a class that is new; "
         + PRIORS),
        ({"p_value": 0.01}, "beyond chance", SHIFTED + f"consistent with a change of priors; {PRIORS}"),
        ({"p_value": None, "estimate": None}, "beyond chance",
         SHIFTED + "not known whether a change of priors explains it; "
         + PRIORS.replace("0.041 [0.033, 0.049]", "not known")),
        ({"n": 199}, "not enough answers", "share of *crack*: not enough answers, n = 199 of at least 200"),
        ({"n": 0, "observed": 0, "expected": 0, "z": 0}, "not enough answers",
         "share of *crack*: not enough answers, n = 0 of at least 200"),
        ({"n": 200, "z": LEAST_SCORES[LONG]}, "within chance",
         "share of *crack* 1.9× what the priors then in force imply, n = 200, within chance"),
        ({"n": 200, "z": LEAST_SCORES[LONG] + 0.001}, "beyond chance", SHIFTED.replace("4,210", "200")
         + f"consistent with a change of priors; {PRIORS}"),
        ({"observed": 112.5}, "beyond chance but small",
         "share of *crack* 1.25× what the priors then in force imply, n = 4,210, beyond chance but small"),
        ({"observed": 72.0, "z": -4.6}, "beyond chance but small",
         "share of *crack* 0.80× what the priors then in force imply, n = 4,210, beyond chance but small"),
        ({"observed": 71.9, "z": -4.6}, "beyond chance",
         SHIFTED.replace("1.9", "0.80") + f"consistent with a change of priors; {PRIORS}"),
        ({"observed": 12.0, "expected": 0.0}, "beyond chance",
         "share of *crack* 0.0029, where the priors then in force imply none, n = 4,210, beyond chance; "
         f"consistent with a change of priors; {PRIORS}"),
        ({"observed": 4_000.0, "expected": 2.0, "configured": 0.0005}, "beyond chance",
         SHIFTED.replace("1.9", "2,000") + "consistent with a change of priors; "
         + PRIORS.replace("0.018", "0.0005")),
    ],
)  # fmt: skip
def test_verdicts(given: dict[str, Any], state: str, words: str) -> None:
    found = verdict("crack", **CRACK | given)
    assert (found.state, found.words) == (state, words)
