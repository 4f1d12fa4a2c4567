"""python -m training compare DATA: methods × seeds, paired by seed, each trained once, judged alike, in one report."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from training.cells import Made, Place, Train, keep_corrupted, load_cell, require_same, train_cell
from training.compare_facts import comparison_of
from training.compare_report import write
from training.compare_table import as_markdown
from training.comparison import Comparison
from training.config import TrainingConfig
from training.dataset import Dataset
from training.errors import DataError, ExportError
from training.lead import Lead
from training.loading import load
from training.locks import hold
from training.robustness import corrupted_logits

PENDING = "not trained yet"


@dataclass(frozen=True)
class Contestant:
    """A method under the name that the report gives it, and the configuration of its runs but for seed and name."""

    name: str
    config: TrainingConfig


def compare(
    config: TrainingConfig, contestants: Sequence[Contestant], seeds: int, out: Path, train: Train, lead: Lead
) -> Comparison | None:
    """Train what `out` does not hold yet, and keep compare.json, compare.md and compare.html in `out` up to date.

    A seed decides split, weights and batches alike, so that methods are paired by it. A method that cannot be trained
    is named on standard error and as missing, the others go on. DataError where `out` has cells of another
    configuration or of other data, or where nothing could be trained. Of several processes, the first alone reads and
    writes `out`, and tells the others what is to be trained and what failed; they end with None.
    """
    with ExitStack() as opened:
        lead.alone(lambda: opened.enter_context(hold(out / "lock", f"{out}: another comparison goes on there")))
        return _compare(config, contestants, seeds, out, train, lead)


def _compare(
    config: TrainingConfig, contestants: Sequence[Contestant], seeds: int, out: Path, train: Train, lead: Lead
) -> Comparison | None:
    configs = {Place(out, c.name, config.seed + s): c.config for s in range(seeds) for c in contestants}
    dataset = load(config)
    cells = lead.alone(lambda: held(configs, dataset.fingerprint())) or {}
    pending: list[Place] = lead.broadcast([place for place in configs if place not in cells])
    missing = dict.fromkeys(pending, PENDING)

    def report() -> Comparison:
        numbers = range(config.seed, config.seed + seeds)
        comparison = comparison_of(cells, [c.name for c in contestants], numbers, missing)
        write(comparison, out)
        return comparison

    for number, place in enumerate(pending, 1 + len(configs) - len(pending)):
        if cells:
            report()  # it can be read while the next cell trains
        say(lead, f"{place.name}: {number} of {len(configs)}")
        try:
            cell = make_cell(place, configs[place], dataset, train, lead)
        except (DataError, ExportError) as error:
            say(lead, f"{place.name}: {error}")
            missing[place] = str(error).replace(f"{out}/", "")  # no path of this machine goes into the report
        else:
            del missing[place]
            if cell is not None:
                cells[place] = cell
    if not lead.first:
        return None
    if not cells:
        raise DataError("nothing could be trained: " + "; ".join(f"{p.name}: {why}" for p, why in missing.items()))
    comparison = report()
    print(as_markdown(comparison))
    return comparison


def held(configs: Mapping[Place, TrainingConfig], fingerprint: str) -> dict[Place, Made]:
    """The cells that are there whole. DataError where one is of another configuration, or of other data."""
    for place, config in configs.items():
        require_same(place, config, fingerprint)
    return {place: load_cell(place) for place in configs if place.made() and place.corrupted.is_file()}


def make_cell(place: Place, config: TrainingConfig, dataset: Dataset, train: Train, lead: Lead) -> Made | None:
    """Train a cell, if it is not, and keep what its bundle lacks. None on all processes but the first."""

    def judged() -> Made:
        keep_corrupted(place, corrupted_logits(dataset, place.bundle(), replace(config, seed=place.seed)))
        return load_cell(place)

    if lead.broadcast(lead.first and place.made() is None):
        train_cell(place, config, dataset.fingerprint(), train, lead)
    return lead.alone(judged)


def say(lead: Lead, line: str) -> None:
    """On standard error, once for all processes."""
    if lead.first:
        print(line, file=sys.stderr)
