import io

import numpy as np
import pytest
import torch
from PIL import Image

from decision import InputSpec
from training.augment import KINDS, Augmentation, Kind
from training.examples import FeatureExamples, ImageExamples, Share, synthesised
from training.files import Contents, ImageFiles, Images
from training.sampling import Sampling

CPU = torch.device("cpu")
DRAWN = [np.array([5, 1, 9, 3, 0, 7, 2]), np.array([4, 6, 8])]


PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)


def in_files() -> ImageFiles:
    return ImageFiles(Contents([str(i) for i in range(30)], [png(pixels) for pixels in PIXELS]), np.arange(30),
                      InputSpec(8, 8, 3))  # fmt: skip


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def images(kind: Kind = "mixup", source: Images = PIXELS, workers: int = 0) -> ImageExamples:
    augment = Augmentation(kind, "both", 0.2, (0, 1))
    return ImageExamples(source, np.arange(10, 20), np.arange(10) % 3, augment, workers)


def features() -> FeatureExamples:
    return FeatureExamples(torch.randn(10, 4), np.arange(10) % 3)


@pytest.mark.parametrize(
    "examples", [*map(images, KINDS), images(source=in_files()), images("light", in_files(), 2), features()],
    ids=[*KINDS, "mixup, files", "light, workers", "features"],
)  # fmt: skip
@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_batches_that_one_would_see(examples: ImageExamples | FeatureExamples, count: int) -> None:
    whole = list(examples.batches(DRAWN, [0, 1], Share(), CPU))
    shares = [list(examples.batches(DRAWN, [0, 1], Share(rank, count), CPU)) for rank in range(count)]
    for i, batch in enumerate(whole):
        for rank in range(count):
            torch.testing.assert_close(shares[rank][i].images, batch.images[rank::count])
            torch.testing.assert_close(shares[rank][i].labels, batch.labels[rank::count])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_all_one_whether_images_fit_in_memory(kind: Kind) -> None:
    share = Share(1, 2)
    there = images(kind).batches(DRAWN, [0, 1], share, CPU)
    decoded = images(kind, in_files(), workers=1).batches(DRAWN, [0, 1], share, CPU)
    for one, other in zip(there, decoded, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_labels_go_with_their_images() -> None:
    pixels = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), dtype=np.uint8)
    examples = ImageExamples(pixels, np.arange(10, 20), np.arange(10), Augmentation("light", "both", 0.2), 0)
    for batch in examples.batches(DRAWN, [0], Share(), CPU):
        torch.testing.assert_close(batch.images[:, 0, 0, 0].long() - 10, batch.labels)


def test_an_epoch_is_a_function_of_its_seed() -> None:
    epochs = [images().batches(DRAWN, seed, Share(), CPU) for seed in ([0, 1], [0, 1], [0, 2])]
    one, again, other = (next(epoch).images for epoch in epochs)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


COUNTS = [40, 12, 3, 1]


def clouds() -> tuple[torch.Tensor, np.ndarray]:
    labels = np.repeat(range(4), COUNTS)
    rng = np.random.default_rng(0)
    return torch.tensor(10 * labels[:, None] + rng.uniform(0, 1, (56, 6)), dtype=torch.float32), labels


def test_smote_fills_every_class_up_and_keeps_what_there_was() -> None:
    features, labels = clouds()
    made = synthesised(features.reshape(56, 2, 3), labels, Sampling("oversample"), seed=0)
    assert np.bincount(made.labels).tolist() == [40, 40, 40, 40]
    assert made.features.shape == (160, 2, 3)
    torch.testing.assert_close(made.features[:56].flatten(1), features)


def test_a_synthetic_feature_lies_between_two_of_its_class() -> None:
    features, labels = clouds()
    made = synthesised(features, labels, Sampling("oversample", 0.5), seed=0)
    assert np.bincount(made.labels).tolist() == [40, 20, 20, 20]
    for x, k in zip(made.features[56:].numpy(), made.labels[56:], strict=True):
        own = features[torch.from_numpy(labels == k)].numpy()
        gaps = [np.linalg.norm(x - a) + np.linalg.norm(x - b) - np.linalg.norm(a - b) for a in own for b in own]
        assert min(gaps) < 1e-3


def test_smote_makes_nothing_where_nothing_is_wanted() -> None:
    features, labels = clouds()
    made = synthesised(features, labels, Sampling("oversample", 0.01), seed=0)
    assert torch.equal(made.features, features)
