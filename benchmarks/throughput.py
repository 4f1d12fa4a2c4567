"""python -m benchmarks.throughput: the training loop beside a bare one, written by hand, on the same tensors.

Both train the same network from the same weights on the same images in memory, in batches of the same size, without
augmentation. Ours deals samples, follows a schedule, writes checkpoints and TensorBoard's curves. One round is an epoch
of each, in turns; the ratios are ours over bare, of images a second, and of images a CPU second: the latter is what
counts on a CPU that does other work too, with OMP_NUM_THREADS=1 (idle threads of OpenMP burn time).
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from training.augment import Augmentation
from training.config import Machine
from training.dataset import Dataset
from training.machine import commit, hardware
from training.methods import parse_method
from training.networks import NETWORKS, Network, build_network
from training.phases import train
from training.runlog import RunLog
from training.setting import Schedule, Setting
from training.splits import Splits

CASES = [("small", 32, 3, 1_920), ("lenet5", 28, 1, 12_800), ("resnet32", 32, 3, 640)]
"""Network, side, channels, and the images of a round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| network | input | images a round | ours, images/s | bare, images/s | ratio | of CPU time |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for case in CASES:
        rows.append(measured(*case, options))
        form = "| {network} | {input} | {images:,} | {ours:,.0f} | {bare:,.0f} | {wall} | {cpu} |"
        print(form.format(**rows[-1]), flush=True)
    rounds = f"Median (least, most) of {options.rounds} rounds, batches of {options.batch_size}"
    print(f"\n{rounds}; {hardware(Machine())}, commit {commit()}.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def measured(name: str, side: int, channels: int, n: int, options: argparse.Namespace) -> dict:
    """Rounds of one network."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8)
    dataset = Dataset("noise", tuple("0123456789"), images, np.arange(n) % 10, np.arange(n), np.full(n, "train"))
    ratios, cpu_ratios, speeds = [], [], []
    for number in range(options.rounds + 1):
        pair = (ours, bare) if number % 2 else (bare, ours)
        took = {}
        for loop in pair:
            torch.manual_seed(0)
            network = build_network(name, dataset.input, 10, images[:1000])
            begun = time.perf_counter(), time.process_time()
            loop(network, dataset, NETWORKS[name].learning_rate, options.batch_size)
            took[loop] = time.perf_counter() - begun[0], time.process_time() - begun[1]
        if number:  # the first warms up
            (wall, cpu), (bare_wall, bare_cpu) = took[ours], took[bare]
            ratios.append(bare_wall / wall)
            cpu_ratios.append(bare_cpu / cpu)
            speeds.append([n / wall, n / bare_wall])
    mine, theirs = np.median(speeds, axis=0)
    return {"network": name, "input": f"{side}×{side}×{channels}", "images": n, "ours": mine, "bare": theirs,
            "wall": spread(ratios), "cpu": spread(cpu_ratios)}  # fmt: skip


def spread(ratios: list[float]) -> str:
    """The median of rounds, the least and the most."""
    return f"{np.median(ratios):.3f} ({min(ratios):.3f}, {max(ratios):.3f})"


def ours(network: Network, dataset: Dataset, rate: float, batch_size: int) -> None:
    """One epoch by `training.phases.train`, all that a run does in it included."""
    rows = np.arange(len(dataset.labels))
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(
            Fabric(accelerator="auto", devices=1), dataset, Splits(rows, rows[:0], rows[:0], rows[:0]),
            Augmentation("none", "none", 0.0), Schedule(1, batch_size, rate, 1, 0.9, 5e-4, 0), np.ones(10),
        )  # fmt: skip
        with RunLog(Path(folder) / "run", dataset.classes) as log:
            train(setting, network, parse_method("baseline"), log)


def bare(network: Network, dataset: Dataset, rate: float, batch_size: int) -> None:
    """One epoch as one would write it by hand."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = torch.from_numpy(dataset.images), torch.from_numpy(dataset.labels)
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for rows in torch.randperm(len(labels)).split(batch_size):
        loss = nn.functional.cross_entropy(network(images[rows].to(device)), labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()


if __name__ == "__main__":
    main()
