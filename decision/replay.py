"""Replay: what a policy would have done with the answers that were given, from their stored probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.arrays import Flags, Labels, as_probabilities
from decision.errors import listed
from decision.intervals import Array, Interval, clopper_pearson
from decision.policy import ABSTAIN, Policy

VANISHED = 2.0**-25
"""The largest probability that float16 rounds to 0."""


@dataclass(frozen=True, eq=False)
class Replay:
    """How n answers would have been labelled and flagged by `against`, before, and by `policy`, after.

    `changed` is the share of answers with another label, with Clopper and Pearson's limits: for as many answers drawn
    independently from the same traffic. `moves` `(K + 1, K + 1)` counts the changed ones by their label before and
    after, the last being none. Shares of answers per class `(K,)`: with the label; with the flag, NaN where the policy
    cannot flag the class. Without answers, all are NaN.
    """

    classes: tuple[str, ...]
    n: int
    changed: Interval
    moves: NDArray[np.int64]
    labels_before: Array
    labels_after: Array
    flagged_before: Array
    flagged_after: Array


def replay(policy: Policy, against: Policy, probabilities: ArrayLike) -> Replay:
    """Both policies on the same n answers, of which there are the calibrated probabilities `(n, K)`; n may be 0.

    Stored as float16, a probability is off by at most one part in 2,048, or by 3e-8 below 6e-5, and what was below
    3e-8 is a 0. A 0 is taken as the largest that it can stand for, so that a policy with thresholds that low is said to
    flag rather more than it would. Laws: a policy against itself changes nothing; `moves` add up to `changed`; swapping
    the policies transposes `moves`; but for rounding next to a threshold it agrees with `Policy.decide` on the logits.
    Raises TypeError for what is no Policy, ValueError for policies of different bundles or rows that do not sum to 1.
    """
    _require_alike(policy, against)
    k = len(policy.classes)
    given = np.asarray(probabilities, dtype=np.float64)
    p = given if given.shape == (0, k) else as_probabilities(given, k)
    logits = np.log(np.maximum(p, VANISHED))
    before, after = against.decide_calibrated(logits), policy.decide_calibrated(logits)
    return Replay(
        policy.classes, len(p), _changed(before.labels, after.labels), _moves(before.labels, after.labels, k),
        _labelled(before.labels, k), _labelled(after.labels, k),
        _flagged(against, before.flags), _flagged(policy, after.flags),
    )  # fmt: skip


def _require_alike(policy: Policy, against: Policy) -> None:
    for one in (policy, against):
        if not isinstance(one, Policy):
            raise TypeError(f"expected a Policy, as bundle.policy(document) gives, got {type(one).__name__}")
    if policy.classes != against.classes:
        came = f"got one for {listed(policy.classes)} and one for {listed(against.classes)}"
        raise ValueError(f"expected two policies for the same classes, {came}")


def _changed(before: Labels, after: Labels) -> Interval:
    n, hits = len(before), int((before != after).sum())
    low, high = clopper_pearson(hits, n)
    return Interval(hits / n if n else np.nan, float(low), float(high))


def _moves(before: Labels, after: Labels, k: int) -> NDArray[np.int64]:
    moved = before != after
    source, target = (np.where(labels == ABSTAIN, k, labels)[moved] for labels in (before, after))
    counts: NDArray[np.int64] = np.bincount(source * (k + 1) + target, minlength=(k + 1) ** 2).reshape(k + 1, k + 1)
    return counts


def _labelled(labels: Labels, k: int) -> Array:
    return _shares(np.bincount(labels[labels != ABSTAIN], minlength=k), len(labels))


def _flagged(policy: Policy, flags: Flags) -> Array:
    return np.where(policy.rule.can_flag, _shares(flags.sum(axis=0), len(flags)), np.nan)


def _shares(counts: NDArray[np.int64], n: int) -> Array:
    return counts / n if n else np.full(len(counts), np.nan)
