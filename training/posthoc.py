"""What some methods do to the output layer after training, before it is exported."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks import Network, output_layer

TAUS = np.round(np.arange(0.0, 1.01, 0.1), 1)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What may be looked at: class counts of train `(K,)`; features `(n, …)` and labels `(n,)` of calibrate images.

    There are no images where the change does not look at them.
    """

    counts: NDArray[np.int64]
    features: Tensor
    labels: Tensor


class PostHoc(Protocol):
    """A change of the output layer, in place."""

    @property
    def looks(self) -> bool:
        """Whether it looks at calibrate images."""
        ...

    def __call__(self, network: Network, evidence: Evidence) -> None: ...


@dataclass(frozen=True)
class BalancedLogits:
    """z_k − τ log π_k, π the class shares of train (Menon et al. 2021, eq. 9): the argmax is that of a balanced mix."""

    tau: float
    looks = False

    def __call__(self, network: Network, evidence: Evidence) -> None:
        bias = _bias(output_layer(network.head))
        shares = np.maximum(evidence.counts, 1) / np.maximum(evidence.counts, 1).sum()
        with torch.no_grad():
            bias -= torch.as_tensor(self.tau * np.log(shares), dtype=bias.dtype, device=bias.device)


@dataclass(frozen=True)
class TauNorm:
    """w_k / ‖w_k‖^τ, the bias dropped (Kang et al. 2020): rare classes have small weights, which this evens out.

    Without a τ, it is the one of 0, 0.1, …, 1 with the best balanced accuracy on calibrate images, the smallest of
    equals.
    """

    tau: float | None

    @property
    def looks(self) -> bool:
        return self.tau is None

    def __call__(self, network: Network, evidence: Evidence) -> None:
        layer = output_layer(network.head)
        weight = layer.weight.detach().clone()
        nn.init.zeros_(_bias(layer))
        tau = self._best(network, layer, weight, evidence) if self.tau is None else self.tau
        _normalise(layer, weight, tau)

    def _best(self, network: Network, layer: nn.Linear | nn.Conv2d, weight: Tensor, evidence: Evidence) -> float:
        values = []
        for tau in TAUS:
            _normalise(layer, weight, float(tau))
            with torch.no_grad():
                hits = network.head(evidence.features).argmax(dim=1) == evidence.labels
            values.append(np.mean([hits[evidence.labels == k].float().mean().item() for k in evidence.labels.unique()]))
        return float(TAUS[int(np.argmax(values))])


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """A cosine layer has none, and belongs to methods that change nothing after training."""
    assert layer.bias is not None
    return layer.bias


def _normalise(layer: nn.Linear | nn.Conv2d, weight: Tensor, tau: float) -> None:
    norms = weight.flatten(1).norm(dim=1).clamp_min(1e-12).reshape(-1, *[1] * (weight.dim() - 1))
    with torch.no_grad():
        layer.weight.copy_(weight / norms**tau)
