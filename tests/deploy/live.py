"""Real services that are sent images, and a real Prometheus that scrapes them: what it has at chosen moments."""

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import psutil

from decision import Bundle
from deploy import prometheus as written
from deploy.windows import Timing
from tests.deploy.conftest import Prometheus
from tests.deploy.recompute import RULES
from tests.deploy.sampled import EXPOSED, RECORDED, Sampled, recorded_at, samples, seconds_of, settled
from tests.deploy.sent import Sent, Sums, counted, labelled, send
from tests.service.conftest import Server, put, until

TIMING = Timing(scale=100, scrape=0.25)
"""Rules are evaluated each 0.6 and 1.8 seconds: no multiple of a scrape, so that some evaluations are clear of them."""
SECONDS = seconds_of(TIMING)
AUDITED, REVIEWED = 100, 15


@dataclass(frozen=True)
class Moment:
    """What Prometheus had at a moment: series, each group's rules at an evaluation, alerts; and what it had to have."""

    series: list[Sampled]
    recorded: dict[str, tuple[float, RULES]]
    firing: list[str]
    failures: list[str]
    counts: Sums
    labels: Sums


@dataclass
class Live:
    """The first service, the Prometheus that scrapes all of them, and all that they were sent."""

    server: Server
    prometheus: Prometheus
    bundle: Bundle
    sent: list[Sent] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    reviewed: set[str] = field(default_factory=set)
    items: Sums = field(default_factory=Counter)
    quality: dict[str, Any] = field(default_factory=dict)
    moments: dict[str, Moment] = field(default_factory=dict)

    def send(self, server: Server, policy: dict[str, Any], n: int) -> None:
        self.sent.append(send(server, policy, n, len(self.sent), self.bundle.calibration_priors))

    def audit(self, server: Server) -> None:
        """Label what an audit drew, and some flagged answers beside; then one of them again."""
        time.sleep(1.5)  # answers are kept within a second
        truth = {answer["id"]: self.bundle.classes[k] for sent in self.sent
                 for answer, k in zip(sent.answers, sent.truth, strict=True)}  # fmt: skip
        flagged = [answer["id"] for sent in self.sent for answer in sent.answers if answer["flags"]]
        with httpx.Client(base_url=server.url, headers=server.token, timeout=30) as client:
            drawn = client.get("/audit-sample", params={"n": AUDITED, "window": "1h"}).raise_for_status().json()
            assert drawn["answers"] == len(truth)
            chosen = [one["id"] for one in drawn["ids"]]
            self.weights = dict.fromkeys(chosen, len(truth) / AUDITED)
            self.reviewed = set([own for own in flagged if own not in self.weights][:REVIEWED])
            for ids in ([*chosen, *self.reviewed], chosen[:1]):
                sent = client.post("/feedback", json={"items": [{"id": own, "label": truth[own]} for own in ids]})
                results = Counter(one["result"] for one in sent.raise_for_status().json()["results"])
                self.items.update({("feedback_items_total", result): float(n) for result, n in results.items()})
            (self.quality,) = client.get("/quality", params={"window": "1h"}).raise_for_status().json()["cohorts"]

    def look(self, name: str) -> None:
        """As soon as everything sent was scraped and then evaluated clear of a scrape, by each group."""
        counts = counted(self.bundle, self.sent)
        self._scraped("equipoise_raw_predictions_total", sum(len(sent.truth) for sent in self.sent))
        self._scraped("equipoise_feedback_items_total", sum(self.items.values()))
        begun = self.prometheus.now("max(timestamp(up))")
        recorded: dict[str, tuple[float, RULES]] = {}

        def complete() -> bool:
            nonlocal recorded
            recorded = self._clear(begun)
            return len(recorded) == len(written.rule_groups(TIMING))

        self.prometheus.wait(complete, 40)
        firing = [one["labels"]["alertname"] for one in self.prometheus.alerts() if one["state"] == "firing"]
        labels = labelled(self.bundle, self.sent, self.weights, self.reviewed) + self.items
        self.moments[name] = Moment(self._series(EXPOSED), recorded, firing, self.prometheus.failures(), counts, labels)

    def _scraped(self, counter: str, n: float) -> None:
        self.prometheus.wait(lambda: sum(one.added() for one in self._series(counter)) == n)

    def _series(self, selector: str, seconds: float = 600) -> list[Sampled]:
        return samples(self.prometheus, selector, seconds, time.time())

    def _clear(self, begun: float) -> dict[str, tuple[float, RULES]]:
        """Rules of each group at its last clear evaluation since `begun`, where it had one."""
        over = self.prometheus.evaluated()
        scraped, series = self._series("scrape_duration_seconds", 20), self._series(RECORDED, 20)
        found = {}
        for group in written.rule_groups(TIMING):
            own = {rule.record for rule in group.rules}
            rules = [one for one in series if one.name in own]
            moments = {float(x) for one in rules for x in one.moments if begun < x <= over[group.name]}
            if clear := settled(scraped, moments):
                found[group.name] = max(clear), recorded_at(rules, max(clear))
        return found


def kill(server: Server) -> None:
    """One worker, at once; until another has taken its place."""
    victim = min(server.worker_pids())
    psutil.Process(victim).send_signal(signal.SIGKILL)
    until(lambda: len(server.worker_pids() - {victim}) == 2)
    server.workers += 1
    server.wait()


def change(server: Server, policy: dict[str, Any]) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert put(client, policy).status_code == 200


def start(model: Path, state: Path, port: int) -> Server:
    with mock.patch("tests.service.conftest.free_port", return_value=port):
        return Server(model, state)


def wait_until_scraped(to: Prometheus, server: Server) -> None:
    """While its counters are 0: what they count from there on is seen."""
    raw = f'equipoise_raw_predictions_total{{instance="127.0.0.1:{server.port}"}}'
    to.wait(lambda: to.now(f"count({raw} == 0)") == 3)
