"""Two-phase training against the baseline, each decided by argmax and by priors, over several seeds.

    python -m benchmarks.two_phase DATA --out DIR [--seeds 3] [-- --flips both …]

Trains what DIR does not hold yet (arguments after -- go to `python -m training run`), then decides the
test images of every bundle by both rules and prints a Markdown table of mean and standard error over
seeds; DIR/two_phase.json has every run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from decision import load_bundle
from training.evaluate import METRICS, class_recall

METHODS = ("baseline", "two-phase-oversample")
RULES = ("argmax", "priors")
SHOWN = ("balanced_accuracy", "macro_auc", "accuracy", "macro_f1", "ece", "nll")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("rest", nargs="*", help="after --: arguments of the training")
    given = parser.parse_args()

    runs = [
        row
        for method in METHODS
        for seed in range(given.seeds)
        for row in measured(trained(given.data, method, seed, given.out, given.rest), method, seed)
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {"data": Path(given.data).name, "arguments": given.rest, "commit": commit(), "machine": machine()}
    (given.out / "two_phase.json").write_text(json.dumps(facts | {"runs": runs}, indent=1) + "\n")
    print(table(runs, given.seeds))


def trained(data: str, method: str, seed: int, out: Path, rest: list[str]) -> Path:
    models = out / f"{method}-{seed}"
    if not (models / "model" / "latest").is_file():
        begun = time.monotonic()
        command = [sys.executable, "-m", "training", "run", data, "--name", "model", "--models", str(models)]
        subprocess.run([*command, "--method", method, "--seed", str(seed), *rest], check=True, stdout=sys.stderr)
        (models / "seconds").write_text(f"{time.monotonic() - begun:.0f}\n")
    return models / "model"


def measured(path: Path, method: str, seed: int) -> list[dict]:
    bundle = load_bundle(path)
    test = bundle.holdout.part("test")
    ones = np.ones(len(test.labels))
    metrics = METRICS | {f"recall/{name}": class_recall(k) for k, name in enumerate(bundle.classes)}
    seconds = float((path.parent / "seconds").read_text())
    rows = []
    for rule in RULES:
        decisions = bundle.policy({"rule": {"kind": rule}}).decide(test.logits)
        values = {name: metric(decisions, test.labels, ones) for name, metric in metrics.items()}
        rows.append({"method": method, "rule": rule, "seed": seed, "n": len(ones), "seconds": seconds} | values)
    return rows


def table(runs: list[dict], seeds: int) -> str:
    """One column a method and rule; mean ± standard error over seeds."""
    columns = [(method, rule) for method in METHODS for rule in RULES]
    names = [*SHOWN, *(name for name in runs[0] if name.startswith("recall/")), "seconds"]
    lines = ["| | " + " | ".join(f"{method} + {rule}" for method, rule in columns) + " |", "|---" * 5 + "|"]
    for name in names:
        cells = []
        for method, rule in columns:
            values = np.array([run[name] for run in runs if (run["method"], run["rule"]) == (method, rule)])
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
            cells.append(f"{values.mean():.0f}" if name == "seconds" else f"{values.mean():.3f} ± {error:.3f}")
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"n = {runs[0]['n']:,} test images, {seeds} seeds, mean ± standard error; "
                      f"{machine()}; commit {commit()}."])  # fmt: skip


def commit() -> str:
    return subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()


def machine() -> str:
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
