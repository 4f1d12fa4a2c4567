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
import torch

from decision import load_bundle
from training.evaluate import metrics_of
from training.reliability import CALIBRATION

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
    (given.out / "two_phase.json").write_text(json.dumps(runs, indent=1) + "\n")
    print(table(runs, given.seeds))


def trained(data: str, method: str, seed: int, out: Path, rest: list[str]) -> Path:
    """The folder of a trained model, with run.json beside it that says how it was made."""
    models = out / f"{method}-{seed}"
    asked = {"data": Path(data).name, "arguments": rest}
    if (models / "run.json").is_file():
        made = json.loads((models / "run.json").read_text())
        if {name: made[name] for name in asked} != asked:
            raise SystemExit(f"{models} was made with {made}; --out another folder for {asked}")
        return models
    begun = time.monotonic()
    command = [sys.executable, "-m", "training", "run", data, "--name", "model", "--models", str(models)]
    subprocess.run([*command, "--method", method, "--seed", str(seed), *rest], check=True, stdout=sys.stderr)
    facts = asked | {"seconds": round(time.monotonic() - begun), "commit": commit(), "machine": machine()}
    (models / "run.json").write_text(json.dumps(facts) + "\n")
    return models


def measured(models: Path, method: str, seed: int) -> list[dict]:
    bundle = load_bundle(models / "model")
    made = json.loads((models / "run.json").read_text())
    test = bundle.holdout.part("test")
    ones, calibrated = np.ones(len(test.labels)), bundle.calibration.probabilities(test.logits)
    calibration = {name: score(calibrated, test.labels, ones) for name, score in CALIBRATION.items()}
    rows = []
    for rule in RULES:
        decisions = bundle.policy({"rule": {"kind": rule}}).decide(test.logits)
        values = {name: metric(decisions, test.labels, ones) for name, metric in metrics_of(bundle.classes).items()}
        rows.append({"method": method, "rule": rule, "seed": seed, "n": len(ones)} | made | values | calibration)
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
    made = " and ".join(sorted({f"{run['machine']}, commit {run['commit']}" for run in runs}))
    return "\n".join([*lines, "", f"n = {runs[0]['n']:,} test images, {seeds} seeds, mean ± standard error; {made}."])


def commit() -> str:
    return subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return f"{device}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
