import re

import numpy as np
import pytest
import torch

from decision import InputSpec
from tests.conftest import noise
from training.errors import DataError
from training.export import export_network, onnx_logits
from training.inference import predict
from training.networks import COSINE_SCALE, NETWORKS, build_network, output_layer

CPU = torch.device("cpu")


def built(name: str, spec: InputSpec, n_classes: int = 10) -> torch.nn.Module:
    return build_network(name, spec, n_classes, noise(0, (20, spec.height, spec.width, spec.channels)))


@pytest.mark.parametrize(
    ("name", "spec", "parameters"),
    [
        ("lenet5", InputSpec(28, 28, 1), 431_080),  # Buda et al. 2018, table 2
        ("allcnn", InputSpec(32, 32, 3), 1_369_738),  # table 3
        ("resnet32", InputSpec(32, 32, 3), 464_154),  # Cui et al. 2019, Cao et al. 2019
        ("small", InputSpec(40, 24, 1), 288_170),
    ],
)
def test_published_sizes(name: str, spec: InputSpec, parameters: int) -> None:
    assert sum(p.numel() for p in built(name, spec).parameters()) == parameters


@pytest.mark.parametrize(("name", "channels"), [(name, 3) for name in NETWORKS] + [("small", 1), ("resnet18", 1)])
def test_every_network_exports_to_one_file_that_onnxruntime_runs_alike(name: str, channels: int) -> None:
    spec = InputSpec(48, 40, channels)
    torch.manual_seed(0)
    network = built(name, spec, 7)
    images = noise(1, (17, 48, 40, channels))
    exported = export_network(network, images)
    expected = predict(network, images, np.arange(17), CPU)
    np.testing.assert_allclose(onnx_logits(exported, images), expected, atol=1e-4)
    assert not re.findall(rb"[\w/.-]{4,}\.py", exported), "no file of this machine is named"


@pytest.mark.parametrize("name", ["small", "allcnn"])
def test_a_cosine_head_sees_directions_alone(name: str) -> None:
    torch.manual_seed(0)
    images = noise(1, (17, 48, 40, 3))
    network = build_network(name, InputSpec(48, 40, 3), 7, images, "cosine").eval()
    layer = output_layer(network.head)
    with torch.no_grad():
        features = network.features(torch.from_numpy(images))
        before = network.head(features)
        layer.weight *= torch.rand(7).reshape(-1, *[1] * (layer.weight.dim() - 1)) + 0.5
        torch.testing.assert_close(network.head(features), before, atol=1e-4, rtol=1e-4)
        if name == "small":
            torch.testing.assert_close(network.head(3 * features), before, atol=1e-4, rtol=1e-4)
            cosine = torch.nn.functional.cosine_similarity(features[0], layer.weight[3], dim=0)
            assert float(before[0, 3]) == pytest.approx(COSINE_SCALE * float(cosine), rel=1e-4)
    assert before.abs().max() <= COSINE_SCALE
    exported = export_network(network, images)
    np.testing.assert_allclose(onnx_logits(exported, images), predict(network, images, np.arange(17), CPU), atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_is_the_output_layer_and_the_body_the_rest(name: str) -> None:
    network = built(name, InputSpec(48, 48, 3), 7)
    head = {id(p) for p in network.head.parameters()}
    body = {id(p) for p in network.body.parameters()}
    assert head
    assert not head & body
    assert head | body == {id(p) for p in network.parameters()}


def test_normalisation_is_that_of_the_train_images() -> None:
    images = noise(3, (50, 8, 8, 3))
    network = build_network("small", InputSpec(8, 8, 3), 2, images)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - network.mean) / network.std
    assert x.mean((0, 2, 3)).abs().max() < 1e-4
    assert (x.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_a_constant_image_is_no_division_by_zero() -> None:
    network = build_network("small", InputSpec(8, 8, 1), 2, np.zeros((4, 8, 8, 1), dtype=np.uint8))
    assert torch.isfinite(network(torch.zeros((2, 8, 8, 1), dtype=torch.uint8))).all()


def test_images_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(DataError, match="lenet5 takes images of at least 16 pixels a side, got 8×8"):
        built("lenet5", InputSpec(8, 8, 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_side_is_enough(name: str) -> None:
    side = NETWORKS[name].smallest_side
    network = built(name, InputSpec(side, side, 3)).train()
    assert network(torch.zeros((2, side, side, 3), dtype=torch.uint8)).shape == (2, 10)
