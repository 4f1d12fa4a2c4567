"""Imbalance made on request: how many images of each class remain, and which."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from training.dataset import Dataset
from training.errors import DataError

Shape = Literal["step", "linear", "exponential"]
SHAPES: dict[str, Shape] = {shape: shape for shape in get_args(Shape)}


@dataclass(frozen=True)
class Imbalance:
    """A profile of class sizes with ratio ρ between the most and the least frequent class.

    `step`: a share μ of the classes is ρ times rarer than the others; `linear`: sizes fall by a constant
    difference (both Buda et al. 2018, section 3.1); `exponential`: n_k = n ρ^(-k/(K-1)), the long tail of
    Cui et al. 2019. The last classes are the rare ones. `most` caps the largest class.
    """

    shape: Shape
    rho: float
    mu: float = 0.5
    most: int | None = None

    def __str__(self) -> str:
        mu = f"mu={self.mu:g}," if self.shape == "step" else ""
        return f"{self.shape}:{mu}rho={self.rho:g}" + (f",most={self.most}" if self.most else "")

    @classmethod
    def parse(cls, text: str) -> "Imbalance":
        """Read `step:mu=0.5,rho=10`, `linear:rho=10` or `exponential:rho=100`, with `,most=5000` to cap."""
        name, _, rest = text.partition(":")
        try:
            given = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
            if name not in SHAPES or not {"rho"} <= set(given) <= {"rho", "mu", "most"}:
                raise ValueError
            imbalance = cls(SHAPES[name], float(given["rho"]), float(given.get("mu", 0.5)),
                            int(given["most"]) if "most" in given else None)  # fmt: skip
        except ValueError:
            raise DataError("expected an imbalance like step:mu=0.5,rho=10, linear:rho=10 or exponential:rho=100, "
                            f"got {text!r}") from None  # fmt: skip
        if not (imbalance.rho >= 1 and 0 < imbalance.mu < 1 and (imbalance.most is None or imbalance.most > 0)):
            raise DataError(f"expected rho ≥ 1, 0 < mu < 1 and most ≥ 1, got {text!r}")
        return imbalance

    def profile(self, n_classes: int) -> NDArray[np.float64]:
        """Class sizes relative to the largest, `(K,)`, from 1 down to 1/ρ."""
        position = np.linspace(0.0, 1.0, n_classes)
        match self.shape:
            case "step":
                rare = max(1, min(n_classes - 1, round(self.mu * n_classes)))
                return np.repeat([1.0, 1.0 / self.rho], [n_classes - rare, rare])
            case "linear":
                return 1.0 - position * (1.0 - 1.0 / self.rho)
            case "exponential":
                return np.asarray(self.rho**-position)


def thin(
    dataset: Dataset, imbalance: Imbalance, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Thin these rows to the profile; a class with fewer images than its share keeps what it has."""
    labels = dataset.labels[rows]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    largest = min(counts.max(), imbalance.most or counts.max())
    wanted = np.maximum(1, np.rint(imbalance.profile(len(counts)) * largest).astype(int))
    kept = [rng.permutation(np.flatnonzero(labels == k))[: wanted[k]] for k in range(len(counts))]
    thinned: NDArray[np.int64] = rows[np.sort(np.concatenate(kept))]
    return thinned
