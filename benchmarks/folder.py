"""Memory of training on a folder, by how many files it has.

    python -m benchmarks.folder [--files 10000 100000] [--train] [--out folder.json]

Makes folders of small JPEG files, 48×48 in 5 classes of 16:8:4:2:1, and loads each in a process of its own, with so
little `memory` that its images stay in their files; then goes over all of them once, shuffled, in batches. Memory is
the peak, sampled, of the proportional set size (a page that processes share counts once) of the process and its
workers. `--train` measures an epoch of `python -m training run` on each folder as well.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from training.dataset import load_dataset
from training.files import ImageFiles, batched

SHARES = {"ash": 16, "beech": 8, "cherry": 4, "dogwood": 2, "elm": 1}
SIDE = 48
DISTINCT = 300
BATCH = 64
SAMPLED_EVERY = 0.1


@dataclass(frozen=True)
class Row:
    """One measurement; seconds include what it takes to start Python."""

    files: int
    what: str
    seconds: float
    images_per_second: float
    peak_mib: float
    samples: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--train", action="store_true", help="measure an epoch of training too")
    parser.add_argument("--out", type=Path, help="write JSON here")
    parser.add_argument("--pass-over", type=Path, help=argparse.SUPPRESS)  # what the measured process does
    options = parser.parse_args()
    if options.pass_over:
        return pass_over(options.pass_over, options.workers)
    rows = [row for n in options.files for row in measured(n, options)]
    print("| files | what | seconds | images/s | peak, MiB |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.files:,} | {row.what} | {row.seconds:.1f} | {row.images_per_second:,.0f} | {row.peak_mib:,.0f} |"
        )
    if options.out:
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def measured(n: int, options: argparse.Namespace) -> list[Row]:
    """Of one folder, which is gone afterwards."""
    workers = ["--workers", str(options.workers)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        generate(folder, n)
        load = [sys.executable, "-m", "benchmarks.folder", "--pass-over", str(folder), *workers]
        rows = [watched(load, n, "load, one pass")]
        if options.train:
            train = [
                sys.executable, "-m", "training", "run", str(folder), "--method", "baseline", "--epochs", "1",
                "--network", "lenet5", "--memory", "0.0001", "--models", f"{place}/models", "--runs", f"{place}/runs",
                *workers,
            ]  # fmt: skip
            rows.append(watched(train, n, "training run, 1 epoch"))
    return rows


def generate(folder: Path, n: int) -> None:
    """Files of their own, so that each is read; their bytes are those of 300 images, which are quick to make."""
    rng = np.random.default_rng(0)
    encoded = [jpeg(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(DISTINCT)]
    bounds = np.round(np.cumsum([0, *SHARES.values()]) / sum(SHARES.values()) * n).astype(int)
    for name, begin, end in zip(SHARES, bounds, bounds[1:], strict=False):
        (folder / name).mkdir(parents=True)
        for i in range(begin, end):
            (folder / name / f"{i:07}.jpg").write_bytes(encoded[i % DISTINCT])


def jpeg(coarse: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def pass_over(folder: Path, workers: int) -> None:
    """Load the folder and decode every image once more, in shuffled batches."""
    dataset = load_dataset(str(folder), memory=0, workers=workers)
    assert isinstance(dataset.images, ImageFiles)
    order = np.random.default_rng(0).permutation(len(dataset.images))
    chunks = (order[begin : begin + BATCH] for begin in range(0, len(order), BATCH))
    seen = sum(len(pixels) for pixels in batched(dataset.images, chunks, workers=workers))
    assert seen == len(order)


def watched(command: list[str], n: int, what: str) -> Row:
    """Run a command; its time, and the largest sum of memory over it and its children."""
    begun, peak, samples = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said, text=True) as run:
        while run.poll() is None:
            peak, samples = max(peak, memory_of(run.pid)), samples + 1
            time.sleep(SAMPLED_EVERY)
        seconds = time.perf_counter() - begun
        if run.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {run.returncode}:\n{said.read()}")
    return Row(n, what, seconds, n / seconds, peak / 2**20, samples)


def memory_of(pid: int) -> int:
    """Bytes of a process and all below it; 0 for those that have just ended."""
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


if __name__ == "__main__":
    main()
