import numpy as np
import pytest
import torch

from decision import InputSpec
from training.networks import Network, build_network, output_layer
from training.posthoc import TAUS, BalancedLogits, Evidence, PostHoc, TauNorm

COUNTS = np.array([80, 15, 5])
SPEC = InputSpec(16, 16, 1)


def made(name: str = "small") -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype=np.uint8)
    network = build_network(name, SPEC, 3, images).eval()
    with torch.no_grad():
        return network, network.features(torch.from_numpy(images))


def logits(network: Network, features: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.head(features)


@pytest.mark.parametrize("name", ["small", "allcnn"])
def test_balanced_logits_are_less_tau_log_priors(name: str) -> None:
    network, features = made(name)
    before = logits(network, features)
    BalancedLogits(0.7)(network, Evidence(COUNTS, features, torch.zeros(60, dtype=torch.long)))
    expected = before - 0.7 * torch.tensor(np.log(COUNTS / 100), dtype=torch.float32)
    torch.testing.assert_close(logits(network, features), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["small", "allcnn"])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
def test_tau_norm_divides_by_the_norm_to_the_tau_and_drops_the_bias(name: str, tau: float) -> None:
    network, features = made(name)
    layer = output_layer(network.head)
    weight = layer.weight.detach().clone().flatten(1)
    TauNorm(tau)(network, Evidence(COUNTS, features, torch.zeros(60, dtype=torch.long)))
    torch.testing.assert_close(layer.weight.detach().flatten(1), weight / weight.norm(dim=1, keepdim=True) ** tau)
    assert not layer.bias.any()


def test_the_chosen_tau_has_the_best_balanced_accuracy() -> None:
    network, _ = made()
    layer = output_layer(network.head)
    with torch.no_grad():
        layer.weight *= torch.tensor([[6.0], [1.0], [0.2]])  # the frequent class has grown long weights
    weight = layer.weight.detach().clone()
    directions = weight / weight.norm(dim=1, keepdim=True)
    labels = torch.arange(60) % 3
    features = directions[labels] + 0.2 * torch.randn(60, 128, generator=torch.Generator().manual_seed(0))
    TauNorm(None)(network, Evidence(COUNTS, features, labels))

    def balanced(tau: float) -> float:
        z = features @ (weight / weight.norm(dim=1, keepdim=True) ** tau).T
        hits = (z.argmax(1) == labels).numpy()
        return float(np.mean([hits[labels.numpy() == k].mean() for k in range(3)]))

    values = [balanced(float(tau)) for tau in TAUS]
    best = weight / weight.norm(dim=1, keepdim=True) ** float(TAUS[int(np.argmax(values))])
    assert len(set(values)) > 1
    torch.testing.assert_close(layer.weight.detach(), best)


@pytest.mark.parametrize(
    ("post", "looks"), [(BalancedLogits(1.0), False), (TauNorm(0.5), False), (TauNorm(None), True)]
)
def test_images_are_looked_at_only_to_choose_a_tau(post: PostHoc, looks: bool) -> None:
    network, _ = made()
    nothing = Evidence(COUNTS, torch.empty(0), torch.zeros(0, dtype=torch.long))
    assert post.looks == looks
    if not looks:
        post(network, nothing)
