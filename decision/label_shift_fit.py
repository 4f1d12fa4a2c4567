"""Is it a shift of priors, or another drift? Goodness of fit of the label-shift model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincc, xlogy

from decision.arrays import Labels, Probabilities, as_probabilities
from decision.intervals import Array
from decision.label_shift import Known, NotIdentifiable, bbse

MOST_BINS = 5
HELD_OUT_A_BIN, LIVE_A_BIN = 50, 20
ANSWERS_A_CLASS = 50  # with fewer, the chi-square law was found to reject too often
ITERATIONS, TOLERANCE = 5_000, 1e-7


@dataclass(frozen=True, eq=False)
class LabelShiftFit:
    """How well a shift of priors alone explains n answers.

    `statistic` is a likelihood ratio, chi-square with `degrees` degrees of freedom if priors are all that changed;
    a small `p_value` says that they are not. `priors` `(K,)` fit best. Per bin `(B,)`: the `predicted` class, and the
    shares of answers `observed` and `expected` of the best fit, which say where it does not.
    """

    statistic: float
    degrees: int
    p_value: float
    priors: Array
    predicted: Labels
    observed: Array
    expected: Array
    n: int


def label_shift_fit(*, probabilities: ArrayLike, holdout: Known) -> LabelShiftFit:
    """Test whether answers of calibrated `probabilities` `(n, K)` differ from the holdout's by their class mix alone.

    Under label shift P(x | y) is the holdout's, so answers fall into bins with probabilities H q: H_bj = P(bin | class
    j), q the live priors. Bins are the most probable class, cut at the holdout's quantiles of its probability into up
    to 5 with 50 held-out images and 20 answers each. Held-out images of each class and answers are independent
    multinomials; their likelihood is maximised with one H for both (expectation maximisation over the answers' classes,
    as Saerens et al. 2002 with H unknown) and without, and twice the difference is chi-square (Wilks 1938) with B - K
    degrees: the holdout's own chance is in it, be a class ever so rare. Conservative where live priors are near 0.

    Law: permuting the classes changes nothing. Groups of related images are taken for independent ones, which makes p
    too small. Raises ValueError for arguments that do not fit, NotIdentifiable for a holdout without images of a class,
    fewer than 50 answers a class, or too few to cut any class's into bins.
    """
    k = len(holdout.calibration_priors)
    live = as_probabilities(probabilities, k)
    if len(live) < ANSWERS_A_CLASS * k:
        raise NotIdentifiable(f"expected at least {ANSWERS_A_CLASS * k:,} answers for {k} classes, got {len(live):,}")
    if len(np.unique(holdout.labels)) < k:
        raise NotIdentifiable("expected held-out images of every class")
    known_bins, live_bins, predicted = _bins(holdout.probabilities, live)
    known = np.zeros((len(predicted), k))
    np.add.at(known, (known_bins, holdout.labels), 1.0)
    seen = np.bincount(live_bins, minlength=len(predicted)).astype(np.float64)
    filled = known.sum(axis=1) + seen > 0
    known, seen, predicted = known[filled], seen[filled], predicted[filled]
    degrees = len(seen) - k
    if degrees < 1:
        raise NotIdentifiable(_too_few(holdout.probabilities.argmax(axis=1), live.argmax(axis=1), k))
    shares, priors = maximum_likelihood(known, seen)
    statistic = 2 * (_log_likelihood(known, seen) - _log_likelihood(known, seen, shares, priors))
    p_value = float(gammaincc(degrees / 2, max(statistic, 0.0) / 2))
    observed, expected = seen / len(live), shares @ priors
    return LabelShiftFit(statistic, degrees, p_value, priors, predicted, observed, expected, len(live))


def _bins(known: Probabilities, live: Probabilities) -> tuple[Labels, Labels, Labels]:
    """Bin of each held-out image and of each answer, and the predicted class of each bin."""
    tops = [p.argmax(axis=1) for p in (known, live)]
    confidences = [p.max(axis=1) for p in (known, live)]
    bins = [np.zeros(len(p), dtype=np.int64) for p in (known, live)]
    predicted: list[int] = []
    for k in range(known.shape[1]):
        own = [top == k for top in tops]
        count = max(1, min(MOST_BINS, int(own[0].sum()) // HELD_OUT_A_BIN, int(own[1].sum()) // LIVE_A_BIN))
        edges = np.quantile(confidences[0][own[0]], np.arange(1, count) / count) if count > 1 else np.empty(0)
        for bin_, confidence, mine in zip(bins, confidences, own, strict=True):
            bin_[mine] = len(predicted) + np.searchsorted(edges, confidence[mine], side="right")
        predicted += [k] * count
    return bins[0], bins[1], np.array(predicted)


def _too_few(held_out: Labels, live: Labels, k: int) -> str:
    """Why no class of these predictions can be cut in two: of the class that comes nearest, and what would help."""
    counts = np.stack([np.bincount(predicted, minlength=k) for predicted in (held_out, live)])
    needed = np.array([2 * HELD_OUT_A_BIN, 2 * LIVE_A_BIN])
    images, answers = counts[:, (counts / needed[:, None]).min(axis=0).argmax()]
    more = [f"more {what}" for what, few in (("held-out images", images < needed[0]), ("answers", answers < needed[1]))
            if few]  # fmt: skip
    if not more:  # one was cut, and as many are never predicted
        return (
            f"the label-shift test needs more bins than classes, {k}, of which some are never predicted: "
            "more held-out images would do"
        )
    return (
        f"the label-shift test needs a class that at least {needed[0]} held-out images and {needed[1]} answers are "
        f"predicted to be (the nearest has {images:,} and {answers:,}): {' and '.join(more)} would do"
    )


def maximum_likelihood(known: Array, seen: Array) -> tuple[Array, Array]:
    """H `(B, K)` and q `(K,)` that make held-out counts `known` `(B, K)` and live counts `seen` `(B,)` most likely."""
    held_out, b = known.sum(axis=0), len(seen)
    shares = (known + 1 / b) / (held_out + 1)
    priors = np.maximum(bbse(seen / seen.sum(), known / held_out), 1e-6)
    last = -np.inf
    for step in range(ITERATIONS):
        joint = shares * priors
        fitted = joint.sum(axis=1)  # 0 in a bin without answers whose classes have died out
        of_bin = np.divide(seen, fitted, out=np.zeros(b), where=fitted > 0)
        of_class = joint * of_bin[:, None]  # E-step: how many answers of each bin are of each class
        live = of_class.sum(axis=0)
        priors = live / seen.sum()  # M-step
        shares = (known + of_class) / (held_out + live)
        if step % 20 == 0:
            reached = _log_likelihood(known, seen, shares, priors)
            if reached - last < TOLERANCE:
                break
            last = reached
    return shares, priors


def _log_likelihood(known: Array, seen: Array, shares: Array | None = None, priors: Array | None = None) -> float:
    """Of the counts under H and q; without them, under the shares that were counted."""
    if shares is None or priors is None:
        return float(xlogy(known, known / known.sum(axis=0)).sum() + xlogy(seen, seen / seen.sum()).sum())
    return float(xlogy(known, shares).sum() + xlogy(seen, shares @ priors).sum())
