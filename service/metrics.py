"""Every metric in one table, right for any number of workers: counters add up, dead workers leave.

prometheus_client chooses multi-process mode when it is imported, from PROMETHEUS_MULTIPROC_DIR, which
BentoML sets for its workers: so only code that runs in a worker imports this module.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from decision import ABSTAIN, Bundle, Decisions
from decision.arrays import Labels
from service.access import Reason
from service.policies import PolicyInForce

MODEL = ("model", "model_version")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The worker's instruments, each class initialised to 0 so that no first event is lost."""

    def __init__(self, bundle: Bundle, provider: str) -> None:
        registry = CollectorRegistry()
        model = dict(zip(MODEL, (bundle.manifest.name, bundle.manifest.version), strict=True))
        per_class = (*MODEL, "class")

        decisions = Counter("equipoise_decisions_total", "Answers by label, under the policy in force.",
                            per_class, registry=registry)  # fmt: skip
        raw = Counter("equipoise_raw_predictions_total", "Most probable class under the calibration priors: free of "
                      "the policy.", per_class, registry=registry)  # fmt: skip
        abstentions = Counter("equipoise_abstentions_total", "Answers without a label.", MODEL, registry=registry)
        self._decisions = [decisions.labels(**model, **{"class": name}) for name in bundle.classes]
        self._raw = [raw.labels(**model, **{"class": name}) for name in bundle.classes]
        self._abstentions = abstentions.labels(**model)

        self._requests = Counter("equipoise_requests_total", "Requests by route and status.",
                                 ("route", "status"), registry=registry)  # fmt: skip
        self._durations = Histogram("equipoise_request_duration_seconds", "Time from request to answer.",
                                    ("route",), buckets=BUCKETS, registry=registry)  # fmt: skip
        failures = Counter("equipoise_auth_failures_total", "Requests turned away for want of a token with the scope.",
                           ("reason",), registry=registry)  # fmt: skip
        self._failures = {reason: failures.labels(reason) for reason in get_args(Reason)}
        dropped = Counter("equipoise_answers_dropped_total", "Answers that were given and never stored.",
                          MODEL, registry=registry)  # fmt: skip
        self._dropped = dropped.labels(**model)
        workers = Gauge("equipoise_workers", "Live workers by onnxruntime's execution provider.",
                        (*MODEL, "provider"), registry=registry, multiprocess_mode="livesum")  # fmt: skip
        workers.labels(**model, provider=provider).set(1)

    def record(self, decisions: Decisions, raw: Labels) -> None:
        """Count the answers for n images: `decisions`, and the most probable classes `raw` `(n,)`."""
        for label in decisions.labels.tolist():
            (self._abstentions if label == ABSTAIN else self._decisions[label]).inc()
        for label in raw.tolist():
            self._raw[label].inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is a template of ours, or "unmatched"."""
        self._requests.labels(route, str(status)).inc()
        self._durations.labels(route).observe(seconds)

    def dropped(self, n: int) -> None:
        """Count answers that the store did not take in time."""
        self._dropped.inc(n)

    def refused(self, reason: Reason) -> None:
        """Count one request that was turned away for its token, or for none."""
        self._failures[reason].inc()


class Exposition:
    """/metrics of the whole host, from any worker."""

    def __init__(self, bundle: Bundle, policies: PolicyInForce) -> None:
        self._folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, path=str(self._folder))
        self._registry.register(_PolicyCollector(bundle, policies))
        self._alive = _hold_lock(self._folder / f"{os.getpid()}.alive")

    def render(self) -> bytes:
        """The text format, without what dead workers alone would say."""
        self._reap()
        return generate_latest(self._registry)

    def _reap(self) -> None:
        """The kernel drops a dead worker's lock at once, long before its arbiter notices."""
        for path in self._folder.glob("*.alive"):
            if path.stem == str(os.getpid()):
                continue
            try:
                fd = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mark_process_dead(int(path.stem), path=str(self._folder))
                path.unlink(missing_ok=True)
            except BlockingIOError:
                pass
            finally:
                os.close(fd)


class _PolicyCollector(Collector):
    """Numbers of the policy in force, asked for at each scrape."""

    def __init__(self, bundle: Bundle, policies: PolicyInForce) -> None:
        self._labels = (bundle.manifest.name, bundle.manifest.version)
        self._policies = policies

    def collect(self) -> Iterator[GaugeMetricFamily]:
        enforced = self._policies.current()
        revision = GaugeMetricFamily("equipoise_policy_revision", "Revision of the policy in force.", labels=MODEL)
        revision.add_metric(self._labels, enforced.revision)
        yield revision
        thresholds = GaugeMetricFamily("equipoise_policy_threshold_ratio", "Threshold on adjusted probabilities.",
                                       labels=(*MODEL, "class"))  # fmt: skip
        priors = GaugeMetricFamily("equipoise_policy_prior_ratio", "Deployment prior.", labels=(*MODEL, "class"))
        policy = enforced.policy
        for name, threshold, prior in zip(
            policy.classes, policy.rule.thresholds, policy.deployment_priors, strict=True
        ):
            priors.add_metric((*self._labels, name), prior)
            if not np.isnan(threshold):
                thresholds.add_metric((*self._labels, name), threshold)
        yield thresholds
        yield priors
        store = GaugeMetricFamily("equipoise_store_up", "1 while the policy store answers.", labels=MODEL)
        store.add_metric(self._labels, float(self._policies.host.down_since is None))
        yield store
        fallback = GaugeMetricFamily("equipoise_policy_fallback", "1 while the bundle's default policy is in force "
                                     "because the last one cannot be.", labels=MODEL)  # fmt: skip
        fallback.add_metric(self._labels, float(enforced.entry.event == "fallback"))
        yield fallback


def _hold_lock(path: Path) -> int:
    """Lock a file before any scrape can see its name; the kernel drops the lock when this process ends."""
    unseen = path.with_suffix(".new")
    fd = os.open(unseen, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.rename(unseen, path)
    return fd
