"""Fit the calibration: one temperature and a bias per class, by NLL on the calibrate split."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from decision import Calibration, softmax

RIDGE = 1.0


def fit_calibration(logits: ArrayLike, labels: ArrayLike, *, ridge: float = RIDGE) -> Calibration:
    """Bias-corrected temperature scaling (Alexandari et al. 2020): T and b `(K,)` from logits `(n, K)`, labels `(n,)`.

    Minimises the summed NLL + ridge/2 (Σ b_k² + log² T): the most probable T and b under standard normal
    priors on log T and b. The ridge is what a class with a few images, or a split without an error, is
    held by; against hundreds of images it vanishes. Laws: the NLL is at most that of T = 1, b = 0; with
    ridge = 0 the mean calibrated probability equals the class frequency. Raises ValueError where the
    optimiser gives up.
    """
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=1, keepdims=True)
    y = np.asarray(labels)
    n, n_classes = z.shape
    hits = np.zeros_like(z)
    hits[np.arange(n), y] = 1.0

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_t, b = parameters[0], parameters[1:]
        scaled = z * np.exp(-log_t)
        p = softmax(scaled + b)
        nll = -np.log(np.maximum(p[np.arange(n), y], np.finfo(float).tiny)).sum()
        excess = p - hits
        gradient = np.concatenate([[-(excess * scaled).sum()], excess.sum(axis=0)])
        return float(nll + ridge / 2 * (parameters @ parameters)), gradient + ridge * parameters

    found = minimize(loss, np.zeros(1 + n_classes), jac=True, method="L-BFGS-B",
                     options={"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9 * n})  # fmt: skip
    if not np.isfinite(found.fun):
        raise ValueError(f"no calibration could be fitted to {n} images: {found.message}")
    bias = found.x[1:] - found.x[1:].mean()
    return Calibration(float(np.exp(found.x[0])), bias)
