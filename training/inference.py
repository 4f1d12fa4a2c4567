"""The network looking at images without learning: logits, features, and how it does on the calibrate split."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.devices import reduced
from training.files import Images, Rows, batched, in_chunks
from training.losses import ImageLoss
from training.networks import Network
from training.setting import Setting

BATCH, BATCH_CPU = 512, 64
"""Images at once; on a CPU, as many as leave activations in its cache (twice as fast for `small`)."""


def predict(
    network: Network, images: Images, rows: Rows, device: torch.device, *, workers: int = 0
) -> NDArray[np.float32]:
    """Logits `(n, classes)` of the images `rows`, in evaluation mode."""
    logits: NDArray[np.float32] = _outputs(network, network, images, rows, device, workers).numpy()
    return logits


def features_of(network: Network, images: Images, rows: Rows, device: torch.device, *, workers: int = 0) -> Tensor:
    """What the output layer sees of the images `rows`, `(n, …)`, in evaluation mode."""
    return _outputs(network, network.features, images, rows, device, workers)


def _outputs(
    network: Network,
    compute: Callable[[Tensor], Tensor],
    images: Images,
    rows: Rows,
    device: torch.device,
    workers: int,
) -> Tensor:
    """What `compute` gives for each image, `(n, …)`, in memory that is set aside once.

    A list of parts would pin the heap: each lands in a hole that a batch's activations left, and the next batch needs
    a new one, so that memory would grow with the number of batches.
    """
    size = BATCH_CPU if device.type == "cpu" else BATCH
    outputs, done = torch.empty(0), 0
    network.eval()
    with torch.no_grad():
        for pixels in batched(images, in_chunks(rows, size), workers=workers):
            part = compute(torch.from_numpy(pixels).to(device)).float()
            if not done:
                outputs = torch.empty((len(rows), *part.shape[1:]))
            outputs[done : done + len(part)] = part
            done += len(part)
    return outputs


def judge(
    setting: Setting, network: Network, loss: ImageLoss, mix: NDArray[np.float64]
) -> tuple[float | None, tuple[float, ...]]:
    """The loss on the calibrate split, classes weighed by `mix` `(K,)`, and the recall of each class there.

    Each process looks at its share; what comes out is the same on all of them, so that they stop together.
    """
    rows = setting.splits.calibrate
    if rows.size == 0:
        return None, ()
    fabric, own = setting.fabric, rows[setting.share.of_batch]
    k = len(setting.dataset.classes)
    sums = torch.zeros(3, k, dtype=torch.double, device=fabric.device)
    if own.size:
        logits = torch.from_numpy(predict(network, setting.dataset.images, own, fabric.device, workers=setting.workers))
        labels = torch.from_numpy(setting.dataset.labels[own])
        losses = loss(logits.to(fabric.device), labels.to(fabric.device)).double().cpu()
        right = (logits.argmax(dim=1) == labels).double()
        columns = [torch.bincount(labels, v, minlength=k) for v in (torch.ones_like(right), losses, right)]
        sums = torch.stack(columns).to(fabric.device)
    n, losses_of, hits = reduced(fabric, sums, "sum").cpu().numpy()
    there = n > 0
    means = losses_of[there] / n[there]
    return float(means @ mix[there] / mix[there].sum()), tuple((hits[there] / n[there]).tolist())
