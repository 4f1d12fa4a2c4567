import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision import Bundle, BundleError, load_bundle, save_bundle
from tests.conftest import CLASSES, channel_means, holdout, manifest


def test_what_is_saved_is_loaded(bundle: Bundle) -> None:
    expected = holdout()
    saved = manifest().model_dump(exclude={"version", "files"})
    assert bundle.manifest.model_dump(exclude={"version", "files"}) == saved
    assert bundle.classes == CLASSES
    assert bundle.network.read_bytes() == channel_means()
    assert bundle.calibration.temperature == 2.0
    assert bundle.calibration.bias.tolist() == [0.5, 0.0, -0.5]
    assert bundle.calibration_priors.tolist() == pytest.approx([0.6, 0.3, 0.1])
    assert not bundle.holdout.logits.flags.writeable
    np.testing.assert_array_equal(bundle.holdout.logits, expected.logits.astype(np.float32))
    for name in ("labels", "split", "groups"):
        np.testing.assert_array_equal(getattr(bundle.holdout, name), getattr(expected, name))
    assert bundle.holdout.part("test").split.tolist() == ["test"] * 20


def test_a_bundle_is_four_files_and_latest_names_it(bundle: Bundle) -> None:
    home = bundle.path.parent
    assert {path.name for path in bundle.path.iterdir()} == {
        "bundle.json", "holdout.npz", "network.onnx", "report.html",
    }  # fmt: skip
    assert {path.name for path in home.iterdir()} == {bundle.manifest.version, "latest"}
    assert load_bundle(home).id == bundle.id == f"tiny:{bundle.path.name}"


def test_latest_is_the_last_one_saved(write_bundle: Callable[..., Path]) -> None:
    write_bundle()
    second = write_bundle(name="tiny", seed=1)
    assert load_bundle(second.parent).path == second


def test_the_default_policy_compiles_and_another_can_be(bundle: Bundle) -> None:
    assert bundle.policy().document.rule.kind == "priors"
    assert bundle.policy({"rule": {"kind": "argmax"}}).document.rule.kind == "argmax"


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_bundle(tmp_path, manifest(), network=channel_means(), holdout=holdout(), report="")
    assert list((tmp_path / "tiny").iterdir()) == []


def test_what_a_killed_save_left_is_swept_after_a_day(write_bundle: Callable[..., Path]) -> None:
    home = write_bundle(name="tiny").parent
    for name, hours in {".new-abandoned": 25, ".new-in-use": 23, "20200101-000000-abcdef": 25}.items():
        (home / name).mkdir()
        (home / name / "network.onnx").write_bytes(b"half")
        os.utime(home / name, (time.time() - hours * 3600,) * 2)
    version = write_bundle(name="tiny", seed=1).name
    left = {path.name for path in home.iterdir()}
    assert ".new-abandoned" not in left
    assert {".new-in-use", "20200101-000000-abcdef", version} <= left


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps(document | changes))

    return edit


def appended(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"x") and None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "bundle.json").unlink(), "bundle.json: expected a readable file"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "bundle.json: expected JSON"),
        (lambda folder: (folder / "network.onnx").unlink(), "network.onnx: expected a readable file"),
        (lambda folder: (folder / "holdout.npz").unlink(), "holdout.npz: expected a readable file"),
        (lambda folder: (folder / "report.html").unlink(), "report.html: expected a readable file"),
        (appended("network.onnx"), "network.onnx: expected sha256"),
        (appended("holdout.npz"), "holdout.npz: expected sha256"),
        (edited(format=2), "expected format 1, got 2; a newer format needs a newer Equipoise"),
        (edited(colour="blue"), "colour: Extra inputs are not permitted"),
        (edited(input={"height": 4, "width": 6, "channels": 3, "crop": 1}), "input.crop: Unexpected"),
        (edited(classes=["red", "red", "blue"]), "distinct classes"),
        (edited(classes=["red", "green"]), "calibration.bias names"),
        (edited(calibration_priors={"red": 0.5, "green": 0.4, "blue": 0.2}), "sum of 1.1"),
        (edited(calibration={"temperature": 0.0, "bias": dict.fromkeys(CLASSES, 0.0)}), "positive, finite temperature"),
        (edited(policy={"rule": {"kind": "thresholds", "thresholds": {"pink": 0.5}}}), "pink: unknown class"),
        (edited(files={}), "expected hashes of network.onnx, holdout.npz and report.html"),
    ],
)
def test_a_damaged_bundle_is_refused_by_name(
    write_bundle: Callable[..., Path], damage: Callable[[Path], None], says: str
) -> None:
    folder = write_bundle()
    damage(folder)
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    assert says in str(refused.value)


def test_a_holdout_of_another_shape_is_refused(tmp_path: Path) -> None:
    whole = holdout()
    narrow = type(whole)(whole.logits[:, :2], whole.labels, whole.split, whole.groups)
    path = save_bundle(tmp_path, manifest(), network=channel_means(), holdout=narrow, report="")
    with pytest.raises(BundleError, match=r"holdout.npz: expected logits \(n, 3\)"):
        load_bundle(path)


@pytest.mark.parametrize("content", ["", "../other", "a/b"])
def test_latest_names_a_version_and_nothing_else(bundle: Bundle, content: str) -> None:
    (bundle.path.parent / "latest").write_text(content)
    with pytest.raises(BundleError, match="expected the name of a version"):
        load_bundle(bundle.path.parent)


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json: expected a readable file"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_a_name_is_one_plain_folder(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        manifest(name=name)
