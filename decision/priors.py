"""Priors of a population, and moving probabilities from one population to another."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decision.arrays import Priors, Probabilities
from decision.errors import Fault, PolicyError, listed, pointer

SMALLEST_PRIOR = 1e-6
SUM_TOLERANCE = 1e-6


def priors_from_mapping(given: Mapping[str, float], classes: Sequence[str], *, at: str = "") -> Priors:
    """Priors `(K,)` from a value per class name.

    Every class must be named, each prior must be at least 1e-6, and the sum 1 within 1e-6 (the rest
    is divided out). Raises PolicyError with a pointer below `at` to each offender.
    """
    unknown = [
        Fault(at + pointer(name), f"unknown class; expected one of {listed(classes)}")
        for name in given
        if name not in classes
    ]
    missing = [
        Fault(at, f"no prior for class {name!r}; priors name every class") for name in classes if name not in given
    ]
    small = [
        Fault(at + pointer(name), f"expected a prior of at least {SMALLEST_PRIOR:g}, got {value}")
        for name, value in given.items()
        if name in classes and not value >= SMALLEST_PRIOR
    ]
    if unknown or missing or small:
        raise PolicyError(*unknown, *missing, *small)
    priors = np.array([given[name] for name in classes], dtype=np.float64)
    total = priors.sum()
    if not abs(total - 1.0) <= SUM_TOLERANCE:
        raise PolicyError(Fault(at, f"expected priors that sum to 1, got a sum of {total:.6g}"))
    normalised: Priors = priors / total
    return normalised


def log_ratio(*, from_: Priors, to: Priors) -> NDArray[np.float64]:
    """log(to_k / from_k) `(K,)`: what moving between two populations adds to each logit."""
    return np.log(to) - np.log(from_)


def adjust(probabilities: ArrayLike, *, from_: ArrayLike, to: ArrayLike) -> Probabilities:
    """Move probabilities `(n, K)` of a population with priors `from_` to one with priors `to`.

    p'_k ∝ p_k · to_k / from_k (Saerens et al. 2002, eq. 4): exact where the populations differ in their
    class mix alone. Laws: equal priors change nothing; adjustments compose; going there and back is
    the identity; permuting the classes commutes. Raises ValueError for shapes that do not fit,
    negative probabilities, or priors that are not positive.
    """
    p, source, target = (np.asarray(a, dtype=np.float64) for a in (probabilities, from_, to))
    if p.ndim != 2 or source.shape != (p.shape[1],) or target.shape != source.shape:
        raise ValueError(f"expected (n, K), (K,) and (K,), got {p.shape}, {source.shape} and {target.shape}")
    if not (p >= 0).all() or not (source > 0).all() or not (target > 0).all():
        raise ValueError("expected probabilities of at least 0 and priors above 0")
    weighted: Probabilities = p * (target / source)
    weighted /= weighted.sum(axis=1, keepdims=True)
    return weighted
