"""What training minimises: one formula, of which every loss for imbalance turns a dial."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from decision.errors import listed
from training.errors import DataError
from training.networks import COSINE_SCALE

Weighting = Literal["none", "inverse", "effective", "given"]
ImageLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits `(n, K)` and labels `(n,)` → loss of each image `(n,)`, in nats."""


@dataclass(frozen=True)
class Loss:
    """w_y (1 − p_y)^γ (−log p_y), with p = softmax(z + τ log n − margin at y), for n_k training images of class k.

    | dial | what | source |
    |---|---|---|
    | `weighting` | w_k: 1/n_k (`inverse`), (1 − β)/(1 − β^n_k) (`effective`), or the user's (`given`) | Cui et al. 2019 |
    | `gamma` | γ: images that are right already count less | Lin et al. 2017, focal loss |
    | `tau` | τ: the logits learn to be those of a balanced population | Menon et al. 2021, eq. 10; at τ = 1 the balanced softmax of Ren et al. 2020 |
    | `margin` | `scale` · Δ_k, Δ_k ∝ n_k^(−1/4), the largest Δ being `margin`: rare classes keep a larger distance | Cao et al. 2019, eq. 12 and 13 (LDAM) |

    All dials at rest, it is cross entropy. It takes logits: a network that ends in a softmax would have it twice.
    """  # noqa: E501 (a table row does not break)

    weighting: Weighting = "none"
    beta: float = 0.9999
    gamma: float = 0.0
    tau: float = 0.0
    margin: float = 0.0
    scale: float = COSINE_SCALE

    def on(
        self, counts: NDArray[np.int64], mix: NDArray[np.float64], given: NDArray[np.float64], device: torch.device
    ) -> ImageLoss:
        """The loss for classes of `counts` `(K,)` training images, drawn in the proportions `mix` `(K,)`.

        Weights are scaled to a mean of 1 over what is drawn, so that a learning rate means the same under all.
        """

        def tensor(values: NDArray[np.float64]) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        n = np.maximum(counts, 1).astype(np.float64)
        weights = self._weights(n, given)
        weight = tensor(weights / (mix @ weights))
        offset = tensor(self.tau * np.log(n))
        rarity = n**-0.25
        margins = tensor(self.scale * self.margin * rarity / rarity.max())

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            z = logits.float() + offset
            if self.margin:
                z = z - nn.functional.one_hot(labels, len(counts)) * margins
            nll = nn.functional.cross_entropy(z, labels, reduction="none")
            if self.gamma:
                nll = (-torch.expm1(-nll)).clamp_min(1e-12) ** self.gamma * nll  # a slope at nll = 0, too
            return nll if self.weighting == "none" else nll * weight[labels]

        return loss

    def _weights(self, n: NDArray[np.float64], given: NDArray[np.float64]) -> NDArray[np.float64]:
        match self.weighting:
            case "none":
                return np.ones_like(n)
            case "inverse":
                return 1.0 / n
            case "effective":
                return (1.0 - self.beta) / (1.0 - self.beta**n)
            case "given":
                return given


CROSS_ENTROPY = Loss()


def given_weights(classes: tuple[str, ...], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """The user's weights `(K,)`, 1 where unnamed. DataError for an unknown class, or if none is above 0."""
    if strangers := [name for name in weights if name not in classes]:
        raise DataError(f"expected --class-weight of a class of {listed(classes)}, got {', '.join(strangers)}")
    given = np.array([weights.get(name, 1.0) for name in classes])
    if not given.any():
        raise DataError("expected a class that weighs more than 0, got none")
    return given
