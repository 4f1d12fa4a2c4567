"""Replay: what a policy would have done with the answers that were given, from their stored probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.arrays import Labels, as_probabilities
from decision.intervals import Array, Interval, clopper_pearson
from decision.moves import label_moves, require_policy
from decision.policy import ABSTAIN, Decisions, Policy

VANISHED = 2.0**-25
"""The largest probability that float16 rounds to 0."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares of answers per class `(K,)`: with the label; with the flag, NaN where it cannot be. NaN of no answers."""

    label_share: Array
    flagged_share: Array


@dataclass(frozen=True, eq=False)
class Replay:
    """How n answers are labelled and flagged by `policy`, and by the one it is held `against`.

    `changed` is the share of answers with another label, with Clopper and Pearson's limits: for as many answers drawn
    independently from the same traffic; NaN without answers. `moves` `(K + 1, K + 1)` counts them by their label of
    against and of policy, the last being none.
    """

    classes: tuple[str, ...]
    n: int
    policy: Shares
    against: Shares
    changed: Interval
    moves: NDArray[np.int64]


def replay(policy: Policy, against: Policy, probabilities: ArrayLike) -> Replay:
    """Both policies on the same n answers, of which there are the calibrated probabilities `(n, K)`; n may be 0.

    Stored as float16, a probability is off by at most one part in 2,048, or by 3e-8 below 6e-5. Probabilities below
    2**-25 are raised to it, the largest that float16 stores as 0; thresholds below it see more flags than they would.
    Laws: a policy against itself changes nothing; `moves` add up to `changed`; swapping the policies transposes
    `moves`; but for rounding next to a threshold it agrees with `Policy.decide` on the logits. Raises TypeError for
    what is no Policy, ValueError for policies for different classes or rows that do not sum to 1.
    """
    require_policy(policy)
    require_policy(against, policy.classes)
    k = len(policy.classes)
    given = np.asarray(probabilities, dtype=np.float64)
    p = given if given.shape == (0, k) else as_probabilities(given, k)
    logits = np.log(np.maximum(p, VANISHED))
    ours, theirs = policy.decide_calibrated(logits), against.decide_calibrated(logits)
    return Replay(
        policy.classes, len(p), _shares(policy, ours), _shares(against, theirs), _changed(ours.labels, theirs.labels),
        label_moves(ours.labels, theirs.labels, k).astype(np.int64),
    )  # fmt: skip


def _shares(policy: Policy, decisions: Decisions) -> Shares:
    n, k = decisions.flags.shape
    labelled = np.bincount(decisions.labels[decisions.labels != ABSTAIN], minlength=k)
    label_share, flagged_share = (counts / n if n else np.full(k, np.nan)
                                  for counts in (labelled, decisions.flags.sum(axis=0)))  # fmt: skip
    return Shares(label_share, np.where(policy.rule.can_flag, flagged_share, np.nan))


def _changed(ours: Labels, theirs: Labels) -> Interval:
    n, hits = len(ours), int((ours != theirs).sum())
    low, high = clopper_pearson(hits, n)
    return Interval(hits / n if n else np.nan, float(low), float(high))
