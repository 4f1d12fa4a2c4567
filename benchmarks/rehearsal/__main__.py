"""What goes wrong in scenarios, and which alerts fire: a bundle's own test images, a real service, a real Prometheus.

    python -m benchmarks.rehearsal DATA --model models/solar [--target Cracking] [--scale 480] [--rate 60] [--only NAME]

Each scenario has a start of its own, with two workers; a day of Prometheus' rules takes 86,400 / scale seconds, and
a scenario one and a third of that. Images are drawn by class from the bundle's test split, and what
/audit-sample asks for is labelled. Exit code 1 where a right alert stays away or a wrong one fires.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rehearsal.pictures import draw
from benchmarks.rehearsal.scenarios import SCENARIOS, Scenario, Site
from benchmarks.rehearsal.stage import Stage, stage
from benchmarks.rehearsal.traffic import Images, Traffic, put_policy
from decision import Bundle, load_bundle
from deploy.windows import Timing
from training.config import Machine
from training.dataset import load_dataset
from training.machine import commit, hardware
from training.splits import split

DAY = 86_400
LENGTH = 4 / 3  # days
SERIES = {
    "score": 'model_class:equipoise_raw_predictions:zscore24h',
    "recall": 'model_class:equipoise_observed_recall:ratio24h',
    "recall_low": 'model_class:equipoise_observed_recall:wilson_lower24h',
    "recall_high": 'model_class:equipoise_observed_recall:wilson_upper24h',
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.rehearsal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", metavar="DATA", help="what the bundle was trained on, as python -m training run names it"
    )
    parser.add_argument("--model", type=Path, required=True, help="the bundle, as models/solar")
    parser.add_argument("--target", metavar="CLASS",
                        help="the class whose recall is promised (default: the second most frequent)")  # fmt: skip
    parser.add_argument("--scale", type=float, default=480.0,
                        help="how much faster time goes: 480 makes a day three minutes (default: 480)")  # fmt: skip
    parser.add_argument("--rate", type=float, default=60.0, help="answers a second (default: 60)")
    parser.add_argument("--only", action="append", metavar="NAME", help="a scenario's name; may be repeated")
    parser.add_argument("--out", type=Path, help="JSON, with the series that the pictures are drawn from")
    parser.add_argument("--pictures", type=Path, help="a folder for them")
    given = parser.parse_args()
    bundle = load_bundle(given.model)
    images, site = images_of(bundle, given.data), site_of(bundle, given.target)
    timing, found = Timing(given.scale, scrape=1.0), []
    print("| scenario | answers | alerts that fired (after hours) | as it should be |\n|---|---|---|---|", flush=True)
    for number, scenario in enumerate(SCENARIOS):
        if not given.only or scenario.name in given.only:
            with stage(given.model, timing) as on:
                found.append(played(on, site, images, scenario, given.rate, timing.scale, number))
            print(row(found[-1]), flush=True)
    made = f"{hardware(Machine(accelerator='cpu'))}, commit {commit()}"
    print(f"\n{bundle.id}, recall of {site.classes[site.target]} promised, rare class {site.classes[site.rare]}; "
          f"a day in {DAY / given.scale:.0f} s, {given.rate:g} answers a second; {made}.")  # fmt: skip
    if given.out:
        given.out.write_text(json.dumps({"classes": site.classes, "scenarios": found}) + "\n")
    if given.pictures:
        draw(found, site, given.pictures)
    return int(not all(one["right"] for one in found))


def images_of(bundle: Bundle, data: str) -> Images:
    """The bundle's test images."""
    spec = bundle.input
    dataset = load_dataset(data, size=(spec.height, spec.width))
    rows = split(dataset, None, bundle.manifest.seed).test
    return Images(np.asarray(dataset.images[rows]), np.asarray(dataset.labels[rows]))


def site_of(bundle: Bundle, target: str | None) -> Site:
    """The rarest class, and as promised the second most frequent or the one that is named."""
    order = np.argsort(bundle.calibration_priors)
    k = bundle.classes.index(target) if target else int(order[-2])
    rare = next(int(one) for one in order if one != k)
    return Site(bundle.classes, np.array(bundle.calibration_priors), k, rare)


def played(
    on: Stage, site: Site, images: Images, scenario: Scenario, rate: float, scale: float, seed: int
) -> dict[str, Any]:  # fmt: skip
    """What came of a scenario."""
    put_policy(on.service, scenario.policy(site))
    on.settle()
    begun = time.time()
    traffic = Traffic(on.service, site, images, scenario, rate, LENGTH * DAY / scale)
    traffic.run(seed)
    end = time.time()
    fired: dict[str, float] = {}
    for labels, points in on.series('ALERTS{alertstate="firing"}', begun, end, 1.0):
        name = labels["alertname"] + (f" {labels['class']}" if "class" in labels else "")
        fired[name] = min(fired.get(name, np.inf), (points[0][0] - begun) * scale / 3600)
    kinds = {name.split(" ")[0] for name in fired}
    as_it_should = kinds <= scenario.right | scenario.allowed and (bool(kinds & scenario.right) or not scenario.right)
    series = {name: [(labels.get("class"), points) for labels, points in on.series(expr, begun, end, 1.0)]
              for name, expr in SERIES.items()}  # fmt: skip
    failed = traffic.statuses.total() - traffic.statuses[200]
    return {"scenario": scenario.name, "answers": traffic.statuses[200], "failed": failed, "fired": fired,
            "right": as_it_should and not failed, "begun": begun, "scale": scale, "series": series}  # fmt: skip


def row(found: dict[str, Any]) -> str:
    fired = ", ".join(
        f"{name.removeprefix('Equipoise')} ({hours:.1f})" for name, hours in sorted(found["fired"].items())
    )
    return f"| {found['scenario']} | {found['answers']:,} | {fired or 'none'} | {'yes' if found['right'] else 'NO'} |"


if __name__ == "__main__":
    sys.exit(main())
