"""Every number at which an alert fires, in one place."""

from decision import drift

SCORE = drift.LEAST_SCORES
"""|z| beyond which a shift is no chance, by window: a window seen 60 times an hour needs more than one a day."""
CLEAR_SCORE = 3.0
"""|z| of every class's raw predictions and mass below which a shift of decisions is not the class mix's."""
FEWEST_ANSWERS = drift.LEAST_ANSWERS
RATIO = drift.SMALL
"""Observed over expected within which a shift is too small to act on, however certain."""
DOUBT_RATIO = drift.DOUBT_RATIO
"""The same of the mean doubt, 1 - confidence, which a mere change of the class mix moves a little too."""
PRIOR_FACTOR = 2.0
"""Estimated prevalence over the configured prior, or the reverse."""
FEWEST_AUDITED = 20
"""Effective audited images of a class below which no recall is judged."""
TARGETED = 0.95
"""Share of a class's audited labels whose own policy promised a recall of it, at or below which none is judged."""
ECE, ECE_SCORE = 0.05, 4.0
ERROR_SHARE, FEWEST_REQUESTS = 0.05, 20
AUTH_FAILURES_AN_HOUR = 100
TARGETS_UP = 0.5
"""Share of a job's replicas at or below which it counts as down."""
