"""python -m tests.deploy.promtool FOLDER writes unit tests of every rule and alert beside the rules, for promtool.

They are written anew for each run, not kept: megabytes, and each number follows from `worlds`, `scenarios` and
`recompute`.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deploy import alerts, prometheus
from deploy.windows import Timing
from tests.deploy.recompute import RULES, Recomputed
from tests.deploy.replicas import STEP, Labels, Series, input_series
from tests.deploy.scenarios import RARE, SCENARIOS, Scenario
from tests.deploy.worlds import LONG, healthy, lively

TO_NEAREST = 1e-6
SLOWLY = ("job:equipoise_requests:error_ratio5m", "job:equipoise_requests:increase5m")
"""Rules over five minutes: tested at one sample a minute."""


def rounded(value: float) -> float:
    """PromQL's round(value, 1e-6), to the bit."""
    inverse = 1 / TO_NEAREST
    return float(np.floor(value * inverse + 0.5) / inverse)


def selector(of: Labels | dict[str, str]) -> str:
    pairs = dict(of).items()
    return "{" + ",".join(f'{key}="{value}"' for key, value in sorted(pairs)) + "}"


def _value(record: str, found: dict[Labels, float], at: str) -> dict[str, Any]:
    samples = [{"labels": selector(of), "value": rounded(value)} for of, value in sorted(found.items())]
    return {"expr": f"round({record}, {TO_NEAREST:g})", "eval_time": at, "exp_samples": samples}


def expected_rules() -> RULES:
    end = (LONG - 1) * STEP
    found = Recomputed(lively(), end, end).rules
    return {record: values for record, values in found.items() if record not in SLOWLY}


def late(series: Iterable[Series], count: int) -> list[dict[str, str]]:
    """Series sampled each STEP, of which the shorter ones start later."""
    series = [one for one in series if one.step == STEP]
    found = []
    for one, given in zip(series, input_series(series), strict=True):
        missing = count - sum(line.count for line in one.lines)
        found.append(given | ({"values": f"_x{missing} {given['values']}"} if missing else {}))
    return found


def _file(groups: Iterable[Any], tests: list[dict[str, Any]], interval: str, *names: str) -> str:
    """JSON, which is YAML too and far sooner written."""
    return json.dumps({
        "rule_files": [f"{name}.yml" for name in names],
        "evaluation_interval": interval,
        "group_eval_order": [group.name for group in groups],
        "tests": tests,
    })  # fmt: skip


def rules() -> str:
    """Every rule's value, for two replicas, two models, changed rates and a restart."""
    end = f"{int((LONG - 1) * STEP)}s"
    values = [_value(record, found, end) for record, found in sorted(expected_rules().items())]
    test = {"interval": "30m", "input_series": late(lively(), LONG), "promql_expr_test": values}
    return _file(prometheus.rule_groups(Timing()), [test], "6h", "rules")


def requests() -> str:
    """The rules over five minutes."""
    job = (("job", "equipoise"),)
    values = [_value(name, {job: value}, "15m") for name, value in zip(SLOWLY, (0, 10_000), strict=True)]
    test = {"interval": "1m", "input_series": input_series(healthy(16)), "promql_expr_test": values}
    return _file(prometheus.rule_groups(Timing()), [test], "1m", "rules")


def _scenario(scenario: Scenario) -> dict[str, Any]:
    end = f"{(scenario.count - 1) * int(scenario.interval[:-1])}{scenario.interval[-1]}"
    read = [one for one in scenario.series() if not one.name.endswith("_bucket")]  # which no rule does
    samples = [{"labels": f"ALERTS{selector(of | {'alertstate': 'firing'})}", "value": 1} for of in scenario.firing]
    return {
        "name": scenario.name,
        "interval": scenario.interval,
        "input_series": input_series(read),
        "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": end, "exp_samples": samples}],
    }


def alert_tests(interval: str, scenarios: Iterable[Scenario] = SCENARIOS) -> str:
    """Scenarios whose series are sampled at an interval: what fires at the end of each, and nothing else."""
    groups = [*prometheus.rule_groups(Timing()), *alerts.groups(Timing(), prometheus.RUNBOOKS, prometheus.JOB)]
    tests = [_scenario(scenario) for scenario in scenarios if scenario.interval == interval]
    return _file(groups, tests, interval, "rules", "alerts")


def descriptions() -> str:
    """The words of a shifted share: which of the two quantities the number is about."""
    said = {
        "a rare class doubles": "2.00 times the raw predictions",
        "its probabilities double, which raw predictions round away": "2.00 times the posterior mass",
        "it doubles, and raw predictions of few held-out images do not tell": "2.50 times the posterior mass",
    }
    tests = []
    for scenario in (one for one in SCENARIOS if one.name in said):
        test = _scenario(scenario)
        end = test.pop("promql_expr_test")[0]["eval_time"]
        tests.append(test | {"alert_rule_test": [_shifted_share(said[scenario.name]) | {"eval_time": end}]})
    groups = [*prometheus.rule_groups(Timing()), *alerts.groups(Timing(), prometheus.RUNBOOKS, prometheus.JOB)]
    return _file(groups, tests, "30m", "rules", "alerts")


def _shifted_share(said: str) -> dict[str, Any]:
    """What fires of both windows."""
    firing = [
        {
            "exp_labels": RARE | {"severity": "ticket", "window": window},
            "exp_annotations": {
                "summary": "The share of a class is not what its priors imply.",
                "description": f"few/rare: {said} that the deployment priors imply over {window}, beyond chance.",
                "runbook_url": f"{prometheus.RUNBOOKS}#equipoiseclassshareshifted",
            },
        }
        for window in ("1h", "24h")
    ]
    return {"alertname": "EquipoiseClassShareShifted", "exp_alerts": firing}


def files() -> dict[str, str]:
    """Rules, alerts and their tests: text by file name."""
    intervals = sorted({scenario.interval for scenario in SCENARIOS})
    return {
        "rules.yml": prometheus.rules(Timing()),
        "alerts.yml": prometheus.alert_rules(Timing()),
        "test-rules.yml": rules(),
        "test-requests.yml": requests(),
        "test-descriptions.yml": descriptions(),
        **{f"test-alerts-{interval}.yml": alert_tests(interval) for interval in intervals},
    }


def write(folder: Path) -> list[Path]:
    """Write them all; those that promtool is to run."""
    for name, text in files().items():
        (folder / name).write_text(text)
    return sorted(folder.glob("test-*.yml"))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
