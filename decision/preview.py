"""Preview: what a policy would do, from a bundle's test images re-weighted to the deployment priors."""

from dataclasses import dataclass, replace
from math import isnan

import numpy as np
from numpy.typing import NDArray

from decision.arrays import Flags, Labels, Logits, Priors
from decision.bundle import Bundle
from decision.differences import Changes, Pairs, mean_difference, precision_difference, recall_difference
from decision.differences import share_difference as shares_apart
from decision.holdout import Holdout
from decision.intervals import Array, Interval, Intervals, recall
from decision.mixtures import Strata, mean, precision, share
from decision.moves import label_moves, require_policy
from decision.policy import ABSTAIN, Policy
from decision.rules import Cost

NEVER = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Figures:
    """What a policy does in a population, or the difference of two: values with 95% limits each, not joint.

    Per class `(K,)`, of labels: recall P(label k | class k), precision P(class k | label k), label share P(label k). Of
    flags the same, NaN where a class cannot be flagged. `confusion` `(K, K + 1)` is P(label | class), the last
    column abstentions. `abstention` is the share of images without a label; `cost` the expected cost of an image, by
    the policy's costs, 1 for a wrong label where it has none, and 0 for an abstention, which a person decides.
    """

    recall: Intervals
    precision: Intervals
    label_share: Intervals
    flag_recall: Intervals
    flag_precision: Intervals
    flagged_share: Intervals
    confusion: Intervals
    abstention: Interval
    cost: Interval


@dataclass(frozen=True, eq=False)
class Comparison:
    """Figures of the policy held against, and of policy less against, at the priors of the policy that is previewed.

    `changed` is the share of images whose label (or abstention) differs between the two; flags do not count;
    `changed_before` is the same at the priors of against. `unseen` is the prior of classes without a test image: of
    them nothing is known. `moves` `(K + 1, K + 1)` says from which label (of against) to which (of policy), the last
    being none, as shares of all images.
    """

    against: Figures
    difference: Figures
    changed: Interval
    changed_before: Interval
    unseen: float
    moves: Array


@dataclass(frozen=True, eq=False)
class Preview:
    """Figures of a policy at its deployment `priors` `(K,)`, and how it compares with the one it is held against.

    They rest on n `(K,)` test images a class, a group of related images counting as one.
    """

    classes: tuple[str, ...]
    priors: Priors
    n: Array
    policy: Figures
    comparison: Comparison | None = None

    def __str__(self) -> str:
        blocks = [("policy", self.policy)]
        if self.comparison:
            blocks += [("against", self.comparison.against), ("difference", self.comparison.difference)]
        return "\n\n".join(self._block(name, figures) for name, figures in blocks)

    def _block(self, name: str, figures: Figures) -> str:
        kinds = ("recall", "precision", "label_share", "flag_recall", "flag_precision", "flagged_share")
        rows = [[name, "images", "prior", *(kind.replace("_", " ") for kind in kinds)]]
        for k, own in enumerate(self.classes):
            found = [getattr(figures, kind).at(k) for kind in kinds]
            rows.append([own, f"{self.n[k]:g}", f"{self.priors[k]:.3g}",
                         *("" if "flag" in kind and isnan(i.value) else format(i, ".3f" if "share" in kind else ".2f")
                           for kind, i in zip(kinds, found, strict=True))])  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(
            [*lines, f"abstention {figures.abstention:.3f}, expected cost {figures.cost:.3f} (0 for an abstention)"]
        )


def preview(bundle: Bundle, policy: Policy, *, against: Policy | None = None) -> Preview:
    """What `policy` would do at its deployment priors, beside what `against` would do there, on the same test images.

    Recalls and the confusion matrix have Clopper and Pearson's limits; precision, shares and cost those of mixtures
    (`decision.mixtures`), differences paired ones (`decision.differences`). Laws: no value depends on the holdout's
    own class mix; a policy held against itself differs by 0; `moves` add up to `changed`. Raises TypeError for what is
    no Policy, ValueError for one that another bundle compiled.
    """
    for one in (policy, against):
        if one is not None:
            _require_own(bundle, one)
    sample = _Sample.of(bundle.holdout.part("test"), len(bundle.classes))
    strata = Strata(policy.deployment_priors, sample.n)
    costs = _costs(policy, against)
    ours = _Calls.of(sample, policy)
    alone = Preview(bundle.classes, policy.deployment_priors, sample.n, _figures(sample, strata, ours, costs))
    if against is None:
        return alone
    theirs = _Calls.of(sample, against)
    changed = sample.by_class((ours.labels != theirs.labels)[:, None])
    before = Strata(against.deployment_priors, sample.n)
    comparison = Comparison(
        _figures(sample, strata, theirs, costs), _differences(sample, strata, ours, theirs, costs),
        share(strata, changed).at(0), share(before, changed).at(0), strata.unseen,
        label_moves(ours.labels, theirs.labels, len(sample.n), sample.shares * strata.weights[sample.labels]),
    )  # fmt: skip
    return replace(alone, comparison=comparison)


def _require_own(bundle: Bundle, policy: Policy) -> None:
    require_policy(policy, bundle.classes)
    same = policy.calibration.temperature == bundle.calibration.temperature
    if not same or not np.array_equal(policy.calibration.bias, bundle.calibration.bias):
        raise ValueError("expected a policy that this bundle compiled, got one with the calibration of another")


@dataclass(frozen=True, eq=False)
class _Sample:
    """Test images in order of their class: logits `(n, K)`, labels and shares `(n,)`; n `(K,)` images a class."""

    logits: Logits
    labels: Labels
    shares: Array
    n: Array

    @classmethod
    def of(cls, test: Holdout, k: int) -> "_Sample":
        order = np.argsort(test.labels, kind="stable")
        labels, shares = test.labels[order], test.shares[order]
        n: Array = np.bincount(labels, weights=shares, minlength=k).astype(np.float64)
        return cls(test.logits[order], labels, shares, n)

    def by_class(self, values: NDArray[np.bool_] | Array) -> Array:
        """Sums `(K, C)` over each class's images of values `(n, C)`."""
        starts = np.searchsorted(self.labels, np.arange(len(self.n)))
        sums = np.zeros((len(self.n), values.shape[1]))
        present = self.n > 0
        sums[present] = np.add.reduceat(values * self.shares[:, None], starts[present], axis=0)
        return sums

    def confusion(self, labels: Labels, where: NDArray[np.bool_] | bool = True) -> Array:
        """How many images of each class get each label, the last being none: `(K, K + 1)`."""
        k = len(self.n)
        cells = self.labels * (k + 1) + np.where(labels == ABSTAIN, k, labels)
        counts: Array = np.bincount(cells, weights=self.shares * where, minlength=k * (k + 1)).astype(np.float64)
        return counts.reshape(k, k + 1)


@dataclass(frozen=True, eq=False)
class _Calls:
    """A policy's labels `(n,)` and flags `(n, K)` on a sample, and which classes it can flag."""

    labels: Labels
    flags: Flags
    can_flag: Flags
    can_abstain: bool

    @classmethod
    def of(cls, sample: _Sample, policy: Policy) -> "_Calls":
        decisions = policy.decide(sample.logits)
        can_abstain = policy.document.abstain_below > 0
        return cls(decisions.labels, decisions.flags, policy.rule.can_flag, can_abstain)


def _costs(*policies: Policy | None) -> Array:
    """`(K, K + 1)`: those of the first policy that has any, else 1 for a wrong label; an abstention costs nothing."""
    priced = [policy.rule.costs for policy in policies if policy and isinstance(policy.rule, Cost)]
    k = next(len(policy.classes) for policy in policies if policy)
    costs = priced[0] if priced else 1.0 - np.eye(k)
    return np.column_stack([costs, np.zeros(k)])


def _figures(sample: _Sample, strata: Strata, calls: _Calls, costs: Array) -> Figures:
    k, n = np.arange(len(sample.n)), sample.n
    confusion = sample.confusion(calls.labels)
    labelled, flagged = confusion[:, :-1], _flag_hits(sample, calls.flags, calls.can_flag)

    def of_flags(found: Intervals) -> Intervals:
        return found.where(calls.can_flag, low=0.0, high=1.0)

    return Figures(
        recall=recall(labelled.diagonal(), n),
        precision=precision(strata, labelled, k),
        label_share=share(strata, labelled),
        flag_recall=of_flags(recall(flagged.diagonal(), n)),
        flag_precision=of_flags(precision(strata, flagged, k)),
        flagged_share=of_flags(share(strata, flagged)),
        confusion=recall(confusion, n[:, None]),
        abstention=share(strata, confusion[:, -1:]).at(0) if calls.can_abstain else NEVER,
        cost=_cost(strata, confusion, costs),
    )


def _differences(sample: _Sample, strata: Strata, ours: _Calls, theirs: _Calls, costs: Array) -> Figures:
    k, n = np.arange(len(sample.n)), sample.n
    cells = Pairs(sample.confusion(ours.labels), sample.confusion(theirs.labels),
                  sample.confusion(ours.labels, ours.labels == theirs.labels))  # fmt: skip
    labels = Pairs(*(hits[:, :-1] for hits in (cells.hits, cells.other, cells.both)))
    can_flag = ours.can_flag & theirs.can_flag
    flags = Pairs(*(_flag_hits(sample, f, can_flag) for f in (ours.flags, theirs.flags, ours.flags & theirs.flags)))

    def of_flags(found: Intervals) -> Intervals:
        return found.where(can_flag, low=-1.0, high=1.0)

    shares = shares_apart(strata, cells)
    return Figures(
        recall=recall_difference(labels.gained.diagonal(), labels.lost.diagonal(), n),
        precision=precision_difference(strata, labels, k),
        label_share=Intervals(shares.value[:-1], shares.low[:-1], shares.high[:-1]),
        flag_recall=of_flags(recall_difference(flags.gained.diagonal(), flags.lost.diagonal(), n)),
        flag_precision=of_flags(precision_difference(strata, flags, k)),
        flagged_share=of_flags(shares_apart(strata, flags)),
        confusion=recall_difference(cells.gained, cells.lost, n[:, None]),
        abstention=shares.at(-1) if ours.can_abstain or theirs.can_abstain else NEVER,
        cost=_cost_difference(sample, strata, ours, theirs, costs),
    )


def _flag_hits(sample: _Sample, flags: Flags, can_flag: Flags) -> Array:
    """How many images of each class get each flag, `(K, K)`."""
    hits = np.zeros((len(sample.n), len(sample.n)))
    if can_flag.any():
        hits[:, can_flag] = sample.by_class(flags[:, can_flag])
    return hits


def _cost(strata: Strata, confusion: Array, costs: Array) -> Interval:
    unit, scaled = _scaled(costs)
    first, second = ((weights * confusion).sum(axis=1, keepdims=True) for weights in (scaled, scaled**2))
    return _times(unit, mean(strata, first, second, scaled.max(axis=1, keepdims=True)).at(0))


def _cost_difference(sample: _Sample, strata: Strata, ours: _Calls, theirs: _Calls, costs: Array) -> Interval:
    unit, scaled = _scaled(costs)
    change = scaled[sample.labels, ours.labels] - scaled[sample.labels, theirs.labels]  # -1, an abstention, is the last
    up, down = np.maximum(change, 0.0)[:, None], np.maximum(-change, 0.0)[:, None]
    dearest = scaled.max(axis=1, keepdims=True)
    more, less = (Changes(sample.by_class(x), sample.by_class(x**2), dearest) for x in (up, down))
    found = mean_difference(strata, more, less).at(0)
    unseen = float((strata.priors * dearest[:, 0])[strata.n <= 0].sum())
    return _times(unit, Interval(found.value, found.low - unseen, found.high + unseen))


def _scaled(costs: Array) -> tuple[float, Array]:
    """The dearest error, and costs in its unit: their squares neither overflow nor vanish."""
    unit = float(costs.max())
    return (unit, costs / unit) if unit > 0 else (1.0, costs)


def _times(unit: float, found: Interval) -> Interval:
    return Interval(found.value * unit, found.low * unit, found.high * unit)
