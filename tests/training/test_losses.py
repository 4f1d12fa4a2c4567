import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.losses import CROSS_ENTROPY, Loss, given_weights

COUNTS = np.array([900, 90, 10])
MIX = COUNTS / COUNTS.sum()
ONES = np.ones(3)
CPU = torch.device("cpu")


def example(seed: int = 0, n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, 3)), dtype=torch.float32), torch.tensor(rng.integers(0, 3, n))


def losses(loss: Loss, z: torch.Tensor, y: torch.Tensor, given: np.ndarray = ONES) -> torch.Tensor:
    return loss.on(COUNTS, MIX, given, CPU)(z, y)


def test_at_rest_it_is_cross_entropy_of_logits() -> None:
    z, y = example()
    torch.testing.assert_close(losses(CROSS_ENTROPY, z, y), torch.nn.functional.cross_entropy(z, y, reduction="none"))


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        (Loss("inverse"), 1 / COUNTS),
        (Loss("effective", beta=0.99), 0.01 / (1 - 0.99 ** COUNTS.astype(float))),
        (Loss("given"), np.array([0.15, 0.85, 0.0])),
    ],
)
def test_weights_are_those_of_torch_over_the_whole_data_set(loss: Loss, weights: np.ndarray) -> None:
    labels = torch.tensor(np.repeat([0, 1, 2], COUNTS))
    z = torch.tensor(np.random.default_rng(0).normal(size=(1000, 3)), dtype=torch.float32)
    expected = torch.nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32))(z, labels)
    given = weights if loss.weighting == "given" else ONES
    torch.testing.assert_close(losses(loss, z, labels, given).mean(), expected)


@given(st.integers(0, 99))
def test_focal_of_two_classes_is_torchvisions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = torch.tensor(rng.normal(0, 3, 50), dtype=torch.float32), torch.tensor(rng.integers(0, 2, 50))
    expected = torchvision.ops.sigmoid_focal_loss(z, y.float(), alpha=-1, gamma=2)
    counts = np.array([5, 5])
    found = Loss(gamma=2).on(counts, counts / 10, np.ones(2), CPU)(torch.stack([torch.zeros(50), z], 1), y)
    torch.testing.assert_close(found, expected)


def test_balanced_softmax_against_its_formula() -> None:
    z, y = example()
    weighted = torch.tensor(COUNTS) * z.double().exp()
    expected = -torch.log(weighted[range(40), y] / weighted.sum(1))
    torch.testing.assert_close(losses(Loss(tau=1.0), z, y).double(), expected, atol=1e-5, rtol=1e-5)


def test_the_logit_adjusted_loss_is_least_at_balanced_logits() -> None:
    """Menon et al. 2021, theorem 1: at f = log p(y|x) − log π_y its expectation has no slope."""
    posterior = torch.tensor([[0.7, 0.2, 0.1], [0.98, 0.015, 0.005]], dtype=torch.float64)
    z = (posterior.log() - torch.tensor(MIX).log()).float().requires_grad_()
    loss = Loss(tau=1.0).on(COUNTS, MIX, ONES, CPU)
    expected = sum((posterior[:, k] * loss(z, torch.full((2,), k))).sum() for k in range(3))
    (slope,) = torch.autograd.grad(expected, z)
    assert slope.abs().max() < 1e-6


def test_ldam_against_its_formula() -> None:
    cosines, y = example()
    cosines = cosines.tanh()
    deltas = 0.5 * (COUNTS / COUNTS.min()) ** -0.25  # C/n^(1/4) with the largest 0.5
    expected = []
    for row, label in zip(cosines.tolist(), y.tolist(), strict=True):
        own = math.exp(30 * (row[label] - deltas[label]))
        others = sum(math.exp(30 * value) for k, value in enumerate(row) if k != label)
        expected.append(-math.log(own / (own + others)))
    found = losses(Loss(margin=0.5, scale=30), 30 * cosines, y)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-4)


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=6), st.sampled_from(["inverse", "effective"]))
def test_weights_have_a_mean_of_1_over_what_is_drawn(counts: list[int], weighting: str) -> None:
    n = np.array(counts)
    for mix in (n / n.sum(), np.full(len(n), 1 / len(n))):
        z = torch.zeros(len(n), len(n))
        found = Loss(weighting).on(n, mix, np.ones(len(n)), CPU)(z, torch.arange(len(n)))
        assert float(torch.tensor(mix) @ found.double()) == pytest.approx(math.log(len(n)), rel=1e-5)


def test_given_weights_name_classes() -> None:
    np.testing.assert_array_equal(given_weights(("cat", "dog"), {"dog": 5.0}), [1.0, 5.0])
    with pytest.raises(DataError, match=r"class of .*, got cow"):
        given_weights(("cat", "dog"), {"cow": 5.0})
    with pytest.raises(DataError, match="more than 0"):
        given_weights(("cat", "dog"), {"cat": 0.0, "dog": 0.0})


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_an_image_that_is_surely_right_has_a_finite_slope(gamma: float) -> None:
    z = torch.tensor([[40.0, -40.0, -40.0], [-40.0, 40.0, -40.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(losses(Loss(gamma=gamma), z, torch.tensor([0, 0])).sum(), z)
    assert torch.isfinite(slope).all()
    assert slope[1].abs().max() > 0.5
