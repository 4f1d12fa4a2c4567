"""What is committed is what the code renders; runbooks, compose and configuration name what is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import alerts, prometheus
from deploy.__main__ import files, main
from deploy.windows import DAY, HOUR, SHORT, WEEK, Timing, duration
from tests.deploy.conftest import require
from tests.deploy.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
ALERTS = [rule for group in alerts.groups(Timing(), prometheus.RUNBOOKS, prometheus.JOB) for rule in group.rules]
TEMPLATE = re.compile(r"\{\{ (?:\$labels\.(\w+)|\$value|printf \"%\.\df\" \$value) \}\}")
QUERY = re.compile(
    r"\{\{ if printf `(.+?)` ((?:\$labels\.\w+ )+)\$value \| query \}\}[\w ]+\{\{ else \}\}[\w ]+\{\{ end \}\}"
)


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.mark.parametrize("path", files(Timing()))
def test_committed_files_are_rendered_ones(path: str) -> None:
    assert (ROOT / "deploy" / path).read_text() == files(Timing())[path], "run: python -m deploy"


def test_main_writes_them_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runbooks = "https://example.org/runbooks"
    main(["--out", str(tmp_path), "--scale", "60", "--scrape", "1", "--runbooks", runbooks, "--job", "press"])
    written = files(Timing(60, 1), runbooks, "press")
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / path) for path in written]
    for path, text in written.items():
        assert (tmp_path / path).read_text() == text
    scraped = yaml.safe_load(written["prometheus/prometheus.yml"])["scrape_configs"][0]["job_name"]
    assert scraped == "press"
    assert 'up{job="press"}' in written["prometheus/alerts.yml"]
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path), "--scale", "0"])


def test_a_rehearsal_is_written_where_it_is_told_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--scale", "60"])
    assert "expected --out with --scale 60" in capsys.readouterr().err
    for path, text in files(Timing(60)).items():
        assert ("--scale 60: what is called 24h here is 24m." in text) == path.endswith(".yml")


@pytest.mark.parametrize(("seconds", "word"), [
    (0, "0s"), (0.25, "250ms"), (1, "1s"), (90, "90s"), (3600, "1h"), (86_400, "1d"), (604_800, "1w")])  # fmt: skip
def test_durations(seconds: float, word: str) -> None:
    assert duration(seconds) == word


def test_a_rehearsal_is_faster_in_all_but_scrapes() -> None:
    timing = Timing(60, 1)
    assert [timing.range(window) for window in (SHORT, HOUR, DAY, WEEK)] == ["5s", "1m", "24m", "168m"]
    assert timing.range(SHORT) == Timing(60, 1.25).range(SHORT)  # never below four scrapes
    assert (timing.interval(HOUR), timing.interval(DAY), timing.duration(900)) == ("1s", "3s", "15s")
    names = [rule.record for group in prometheus.rule_groups(timing) for rule in group.rules]
    assert names == [rule.record for group in prometheus.rule_groups(Timing()) for rule in group.rules]
    with pytest.raises(ValueError, match="expected scale >= 1 and scrape > 0, got 0.5 and 15"):
        Timing(0.5)


def test_each_alert_has_its_runbook_and_no_other() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / prometheus.RUNBOOKS).read_text(), re.MULTILINE)
    assert sorted(sections) == sorted({rule.alert for rule in ALERTS})
    for rule in ALERTS:
        assert rule.runbook == f"docs/runbooks.md#{rule.alert.lower()}"
        severity = (ROOT / prometheus.RUNBOOKS).read_text().split(f"## {rule.alert}\n\n")[1].split(".")[0]
        assert severity.lower() == rule.severity


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.alert + rule.window)
def test_descriptions_use_labels_that_the_alert_has(rule: Any) -> None:
    assert rule.summary.endswith(".")
    assert "{{" not in rule.summary
    assert "{{" not in TEMPLATE.sub("", QUERY.sub("", rule.description))
    used = {name for name in TEMPLATE.findall(rule.description) if name}
    for query, given in QUERY.findall(rule.description):
        asked = re.findall(r"(\w+)=%q", query)
        assert asked == [label.removeprefix("$labels.") for label in given.split()]
        used |= set(asked)
    for fired in (of for one in SCENARIOS for of in one.firing if of["alertname"] == rule.alert):
        assert used <= fired.keys()


def test_names_of_rules_are_their_labels_and_operation() -> None:
    rules = [rule.record for group in prometheus.rule_groups(Timing()) for rule in group.rules]
    assert len(rules) == len(set(rules))
    pattern = (
        r"(model|model_class|model_class_design|model_bin|job|result|reason):equipoise_[a-z_]+:[a-z_]+(5m|1h|24h|7d)?"
    )
    assert all(re.fullmatch(pattern, name) for name in rules)


COMPOSE = read("deploy/compose.yaml")
KEYS = {"build", "command", "depends_on", "environment", "image", "ports", "restart", "stop_grace_period", "volumes"}
"""Of a service, as the Compose specification has them: those in use here."""


def test_compose_has_the_specification_s_keys() -> None:
    assert COMPOSE.keys() == {"name", "services", "volumes"}
    assert COMPOSE["services"].keys() == {"service", "prometheus", "alertmanager", "grafana"}
    for service in COMPOSE["services"].values():
        assert service.keys() <= KEYS
        assert ("build" in service) != ("image" in service)
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose_mounts_what_is_there_and_listens_on_the_loopback(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
    for source, target, *mode in (volume.split(":") for volume in service["volumes"]):
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / "deploy" / source).exists()
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_compose_pins_images_and_builds_what_is_here() -> None:
    images = [service["image"] for service in COMPOSE["services"].values() if "image" in service]
    assert len(images) == 3
    assert all(re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", image) for image in images)
    build = COMPOSE["services"]["service"]["build"]
    assert (ROOT / "deploy" / build["context"] / "Dockerfile").exists()
    used = (ROOT / "Dockerfile").read_text()
    assert all(f"ARG {name}" in used for name in build["args"])


def test_targets_are_services_of_compose() -> None:
    scraped = read("deploy/prometheus/prometheus.yml")
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["service:3000"]
    assert scraped["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]


def test_every_severity_has_a_route() -> None:
    document = read("deploy/alertmanager/alertmanager.yml")
    routes = {route["matchers"][0]: route["receiver"] for route in document["route"]["routes"]}
    assert routes == {f'severity="{severity}"': severity for severity in {rule.severity for rule in ALERTS}}
    assert {receiver["name"] for receiver in document["receivers"]} == set(routes.values())


def amtool(*arguments: str) -> str:
    done = subprocess.run([require("amtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_alertmanager_takes_its_configuration() -> None:
    path = ROOT / "deploy/alertmanager/alertmanager.yml"
    assert "SUCCESS" in amtool("check-config", str(path))
    for rule in ALERTS:
        labels = rule.document()["labels"] | {"alertname": rule.alert, "job": prometheus.JOB}
        pairs = [f"{key}={value}" for key, value in labels.items()]
        assert amtool("config", "routes", "test", f"--config.file={path}", *pairs) == rule.severity


def test_grafana_finds_the_dashboard() -> None:
    folder = read("deploy/grafana/provisioning/dashboards/equipoise.yml")["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in read("deploy/compose.yaml")["services"]["grafana"]["volumes"]
    source = read("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == scrape_interval()


def scrape_interval() -> str:
    return str(read("deploy/prometheus/prometheus.yml")["global"]["scrape_interval"])
