"""promtool tests every rule and every alert; each alert fires in one scenario and is silent in others."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import alerts, prometheus
from deploy.windows import Timing
from tests.deploy import promtool
from tests.deploy.conftest import require
from tests.deploy.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("promtool")
    promtool.write(found)
    return found


def run(test: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("promtool"), "test", "rules", str(test)], capture_output=True, text=True, check=False
    )


TESTS = ["test-rules", "test-requests", "test-descriptions", "test-alerts-1m", "test-alerts-30m", "test-alerts-2h"]


@pytest.mark.parametrize("name", TESTS)
def test_every_rule_and_alert(folder: Path, name: str) -> None:
    done = run(folder / f"{name}.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_rules_and_alerts_are_tested() -> None:
    records = {rule.record for group in prometheus.rule_groups(Timing()) for rule in group.rules}
    assert records == {*promtool.expected_rules(), *promtool.SLOWLY}
    named = {rule.alert for group in alerts.groups(Timing(), "", "") for rule in group.rules}
    assert named == {of["alertname"] for scenario in SCENARIOS for of in scenario.firing}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("+ 0.375", "+ 0.5"),
        ("[1w]", "[6d]"),
        ("_flags_total[1h])", "_flags_total[2h])"),
        ("sum without", "max without"),
    ],
)
def test_a_wrong_rule_is_caught(folder: Path, tmp_path: Path, right: str, wrong: str) -> None:
    shutil.copy(folder / "test-rules.yml", tmp_path)
    _spoil(folder / "rules.yml", tmp_path, right, wrong)
    assert run(tmp_path / "test-rules.yml").returncode != 0


@pytest.mark.parametrize(
    ("right", "wrong", "interval", "scenario"),
    [
        (">= 200", ">= 2", "30m", "it is eight times as common among few answers"),
        ("> 1.25\n", "> 1.1\n", "30m", "a class grows by a fifth, beyond chance"),
        (">= 20\n", ">= 2\n", "30m", "recall of a few images"),
        ("_corrected24h\n", "_corrected24h - 0.1\n", "30m", "recall may be below its target"),
        (
            "< model_class:equipoise_observed_recall:target24h\n",
            "< max without (instance, pod) (equipoise_policy_target_recall_ratio)\n",
            "30m",
            "a target rises above the recall of answers that were promised less",
        ),
        (
            "targeted7d > 0.95\n",
            "targeted7d > 0.4\n",
            "30m",
            "recall is below the target of a class that only half of the labels were promised",
        ),
        ("unless on", "and on", "30m", "labels are not the policy's"),
        (
            "abs(model_class:equipoise_raw_predictions:zscore1h) > 3.0\n",
            "vector(-1) > 0\n",
            "30m",
            "labels follow another class's raw predictions",
        ),
        (
            "abs(model_class:equipoise_posterior_mass:zscore1h) > 3.0\n",
            "vector(-1) > 0\n",
            "30m",
            "labels follow another class's probabilities",
        ),
        ("zscore24h) > 4.5", "zscore24h) > 0.5", "30m", "it doubles, and nothing tells it from chance"),
        (
            "expected:ratio24h > 1.25",
            "expected:ratio24h > 1.1",
            "30m",
            "its probabilities grow by a fifth, beyond chance",
        ),
        ("> 1.5\n", "> 1.2\n", "30m", "images are a little strange"),
        ("zscore7d > 4.0", "zscore7d > -10", "30m", "overconfident on a few labels"),
        ("> 0.05\n", "> 0.02\n", "1m", "a few errors"),
        (">= 20\n", ">= 2\n", "1m", "errors among few requests"),
        ('{result="accepted"} > 0', '{result="accepted"} >= 0', "2h", "labels never came"),
    ],
)
def test_a_wrong_alert_is_caught(
    folder: Path, tmp_path: Path, right: str, wrong: str, interval: str, scenario: str
) -> None:
    shutil.copy(folder / "rules.yml", tmp_path)
    test = tmp_path / "test.yml"
    test.write_text(promtool.alert_tests(interval, [one for one in SCENARIOS if one.name == scenario]))
    shutil.copy(folder / "alerts.yml", tmp_path)
    assert run(test).returncode == 0
    _spoil(folder / "alerts.yml", tmp_path, right, wrong)
    assert run(test).returncode != 0


def _spoil(rules: Path, to: Path, right: str, wrong: str) -> None:
    text = rules.read_text()
    assert right in text
    (to / rules.name).write_text(text.replace(right, wrong))
