"""Drift: how far counts are from what was expected of them, in units of chance, and from when on that is told anyone.

A count has an observed sum c, and its expected sum E and variance V, over the n answers of a window, in which policies
and priors may have changed: each answer adds what `expectation` says under the policy that decided it.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from decision.intervals import Array

SHORT, LONG = "1h", "24h"
LEAST_SCORES = {SHORT: 4.5, LONG: 4.5}  # of |z|, by window; `benchmarks/drift.py` says what they cost and catch
LEAST_ANSWERS = 200
SMALL = (0.8, 1.25)  # ratios of observed to expected between which a shift is too small to tell anyone
DOUBT_RATIO = (2 / 3, 1.5)  # the same of the mean doubt, 1 - confidence, which a mere change of the class mix moves

NOTHING = 1e-6  # of a count: below it, 0 / 0 answers are as variable as a Poisson count


def score(observed: ArrayLike, expected: ArrayLike, variance: ArrayLike, n: ArrayLike, images: ArrayLike) -> Array:
    """z of a count c, of E and V expected of n answers by a reference that stands for m `images`; of any one shape.

    z = 2 (√(c/a + 3/8) - √(E/a + 3/8)) / √(1 + n/m), a = V / E: Anscombe's (1948) transformation of a count whose
    variance is a times its mean (a quasi-Poisson count; a is 1 - e for a count of answers, less for a sum of
    probabilities), over the chance of both the window and the reference. Without drift about N(0, 1), be c ever so
    small. Laws: 0 where c = E; rises with c; c and E of several windows, workers or replicas add up; with m infinite
    the reference is exact. Raises ValueError for sums below 0 and for m not above 0.
    """
    c, e, v, answers, m = (np.asarray(given, dtype=np.float64) for given in (observed, expected, variance, n, images))
    if any((given < 0).any() for given in (c, e, v, answers)):
        raise ValueError("expected sums of at least 0, got one below")
    if not (m > 0).all():
        raise ValueError(f"expected a reference of more than 0 images, got {images!r}")
    scale = (v + NOTHING) / (e + NOTHING)
    z: Array = 2.0 * (np.sqrt(c / scale + 0.375) - np.sqrt(e / scale + 0.375)) / np.sqrt(1.0 + answers / m)
    return z


def psi(observed: ArrayLike, expected: ArrayLike) -> float:
    """Population stability index of counts `(K,)` against expected ones `(K,)`, in nats.

    Σ_k (q_k - p_k) ln(q_k / p_k), the shares q = (c + ½) / (Σ c + ½K), and p likewise of E: by Jeffreys' prior a class
    without a count costs no more than it is worth. Laws: at least 0, and 0 where the counts are the same; swapping the
    two changes nothing. Raises ValueError unless both are rows of counts of some answers.
    """
    q, p = ((x + 0.5) / (x.sum() + 0.5 * len(x)) for x in _counts(observed, expected))
    return float(((q - p) * np.log(q / p)).sum())


def psi_score(value: float, shares: ArrayLike, n: float, images: ArrayLike) -> float:
    """z of a `psi` of n answers, of expected `shares` `(K,)` from a reference of `images` `(K,)`; K at least 2.

    Without drift PSI / s is about chi-square with K - 1 degrees, s = Σ_k (1 - e_k) (1/n + 1/m_k) / (K - 1) (with one
    m, Yurdakul and Naranjo 2020), and z its cube root standardised (Wilson and Hilferty 1931). Law: rises with `value`.
    """
    e, m = np.asarray(shares, dtype=np.float64), np.asarray(images, dtype=np.float64)
    if len(e) < 2 or not n > 0 or not (m > 0).all():
        raise ValueError(f"expected 2 classes, and answers and images above 0, got {len(e)} classes, {n:g} answers")
    degrees = len(e) - 1
    scale = ((1.0 - e) * (1.0 / n + 1.0 / m)).sum() / degrees
    spread = 2.0 / (9.0 * degrees)
    return float(((value / scale / degrees) ** (1.0 / 3.0) - (1.0 - spread)) / np.sqrt(spread))


def js_divergence(observed: ArrayLike, expected: ArrayLike) -> float:
    """Jensen-Shannon divergence of counts `(K,)` against expected ones `(K,)`, in bits (Lin 1991); unsmoothed.

    Laws: between 0, where they are the same, and 1, where no class is in both; swapping the two changes nothing.
    """
    q, p = (x / x.sum() for x in _counts(observed, expected))
    middle = (q + p) / 2.0
    return float((rel_entr(q, middle) + rel_entr(p, middle)).sum() / 2.0 / np.log(2.0))


def _counts(*given: ArrayLike) -> tuple[Array, Array]:
    c, e = (np.asarray(counts, dtype=np.float64) for counts in given)
    if c.ndim != 1 or c.shape != e.shape or not all((x >= 0).all() and x.sum() > 0 for x in (c, e)):
        raise ValueError(f"expected two rows of counts of at least 0 with a sum above 0, got {given!r}")
    return c, e
