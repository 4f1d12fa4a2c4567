from pathlib import Path

import numpy as np
import pytest

from decision import Calibration, parse_policy
from decision.policy import compile_policy
from tests.conftest import noise, png
from training.config import TrainingConfig
from training.dataset import load_dataset
from training.methods import parse_method
from training.record import describe, left_out, summary
from training.splits import split


@pytest.mark.parametrize("strays", [(), ("a/0.png", "a/notes.txt", "b/x.csv")])
def test_the_bundle_counts_what_was_left_out_and_names_no_file(tmp_path: Path, strays: tuple[str, ...]) -> None:
    for k, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(1, 9):
            (tmp_path / name / f"{i}.png").write_bytes(png(noise(10 * k + i)))
    for stray in strays:
        (tmp_path / stray).write_text("no image")
    dataset = load_dataset(str(tmp_path), workers=0, skip_broken=True)
    config = TrainingConfig(str(tmp_path), "made", method="baseline").settled(dataset)
    priors = np.array([0.5, 0.5])
    policy = compile_policy(parse_policy({}), dataset.classes, Calibration(1.0, np.zeros(2)), priors)
    manifest = describe(config, dataset, split(dataset, None, 0), parse_method("baseline"), [], policy, priors, {})

    assert manifest.training["left_out"] == {"unreadable": min(1, len(strays)), "not_images": len(strays[1:])}
    assert manifest.training["phases"][0]["drawn"] == manifest.counts["train"]
    text = manifest.model_dump_json()
    assert not any(stray in text for stray in strays)
    words = "1 file that could not be read and 2 files without an image" if strays else None
    assert left_out(manifest.training) == words
    assert (f"; left out: {words}. " in summary(manifest, ()) + " ") == bool(strays)


def test_a_record_from_before_left_nothing_out() -> None:
    assert left_out({}) is None
