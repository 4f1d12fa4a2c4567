"""What one worker counts, right for any number of workers: counters add up, dead workers leave.

prometheus_client chooses multi-process mode when it is imported, from PROMETHEUS_MULTIPROC_DIR, which
BentoML sets for its workers: so only code that runs in a worker imports this module.
"""

import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from decision import ABSTAIN, Bundle, Decisions, Policy
from decision.arrays import Labels
from service.access import Reason
from service.expectations import Expectations
from service.families import CONFIDENCES, DURATIONS, REVISION, layout
from service.rows import Rows
from service.tally import Tally

MODEL = ("model", "model_version")
BATCHES = (1, 2, 4, 8, 16, 32, 64)
REFUSAL = ("/predict", 503)


def folder() -> Path:
    """Where the workers of this host keep their sums: BentoML empties it at each start."""
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


class Metrics:
    """The worker's instruments, each class initialised to 0 so that no first event is lost."""

    def __init__(self, bundle: Bundle, rows: Rows, expectations: Expectations, provider: str) -> None:
        registry = CollectorRegistry()
        model = dict(zip(MODEL, (bundle.manifest.name, bundle.manifest.version), strict=True))
        self._requests = Counter("equipoise_requests_total", "Requests by route and status.",
                                 ("route", "status"), registry=registry)  # fmt: skip
        self._durations = Histogram("equipoise_request_duration_seconds", "Time from request to answer.",
                                    ("route",), buckets=DURATIONS, registry=registry)  # fmt: skip
        self._routes: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._refusals: list[float] = []  # how long each took
        self._sizes = Histogram("equipoise_batch_size", "Images of a batch.", buckets=BATCHES, registry=registry)
        self._waiting = Gauge("equipoise_waiting_requests", "Images that waited when the last batch began.",
                              registry=registry, multiprocess_mode="livesum")  # fmt: skip
        self._turned_away = Counter("equipoise_refused_requests_total", "Images refused at once, for want of time.",
                                    registry=registry)  # fmt: skip
        failures = Counter("equipoise_auth_failures_total", "Requests turned away for want of a token with the scope.",
                           ("reason",), registry=registry)  # fmt: skip
        self._failures = {reason: failures.labels(reason) for reason in get_args(Reason)}
        dropped = Counter("equipoise_answers_dropped_total", "Answers that were given and never stored.",
                          MODEL, registry=registry)  # fmt: skip
        self._dropped = dropped.labels(**model)
        workers = Gauge("equipoise_workers", "Live workers by onnxruntime's execution provider.",
                        (*MODEL, "provider"), registry=registry, multiprocess_mode="livesum")  # fmt: skip
        workers.labels(**model, provider=provider).set(1)
        self.tally = Tally(folder(), os.getpid(), layout(len(rows.names)))
        self._answers = _Answers(self.tally, rows, expectations)

    def answered(self, policy: Policy, decisions: Decisions, raw: Labels, seconds: Sequence[float]) -> None:
        """Count n answers by a policy, the most probable classes `raw` `(n,)`, and how long each stage took."""
        self._answers.add(policy, decisions, raw, seconds)

    def settle(self) -> None:
        """Add what was left for later, off the request path: refusals, and what a policy that had just come implies."""
        self._answers.settle()
        refusals, self._refusals = self._refusals, []
        if refusals:
            self._turned_away.inc(len(refusals))
            count, duration = self._of_route(*REFUSAL)
            count.inc(len(refusals))
            duration._sum.inc(sum(refusals))
            found = np.searchsorted((*DURATIONS, np.inf), refusals)  # as `observe` finds the bucket, one by one
            for bucket, n in zip(*np.unique(found, return_counts=True), strict=True):
                duration._buckets[bucket].inc(int(n))

    def decides_by(self, revision: int) -> None:
        """Say which policy this worker decides by."""
        self.tally.block(REVISION)[0] = revision

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is a template of ours, or "unmatched"."""
        count, duration = self._of_route(route, status)
        count.inc()
        duration.observe(seconds)

    def refusal(self, seconds: float) -> None:
        """Count one request for an image that was refused at once, when the worker next settles: it must be cheap."""
        self._refusals.append(seconds)

    def _of_route(self, route: str, status: int) -> tuple[Counter, Histogram]:
        known = self._routes.get((route, status))
        if known is None:
            known = self._routes[route, status] = (
                self._requests.labels(route, str(status)),
                self._durations.labels(route),
            )
        return known

    def batch(self, size: int, waiting: int) -> None:
        """Count a batch of images, and say how many more wait."""
        self._sizes.observe(size)
        self._waiting.set(waiting)

    def turned_away(self, n: int) -> None:
        """Count images that were refused at once."""
        self._turned_away.inc(n)

    def dropped(self, n: int) -> None:
        """Count answers that the store did not take in time."""
        self._dropped.inc(n)

    def refused(self, reason: Reason) -> None:
        """Count one request that was turned away for its token, or for none."""
        self._failures[reason].inc()


class _Answers:
    """Adds answers to the worker's tally."""

    def __init__(self, tally: Tally, rows: Rows, expectations: Expectations) -> None:
        self._lock, self._rows, self._expectations = tally.lock, rows, expectations
        self._row = rows.of_class.tolist()
        self._owed: list[tuple[Policy, int]] = []
        block = tally.block
        self._expected = tally.flat[: expectations.size]
        self._raw, self._decisions = block("equipoise_raw_predictions_total"), block("equipoise_decisions_total")
        self._flags, self._mass = block("equipoise_flags_total"), block("equipoise_posterior_mass_total")
        self._decided, self._flagged = (
            block(f"equipoise_{what}_posterior_mass_total") for what in ("decided", "flagged")
        )
        self._abstentions, self._confidence = block("equipoise_abstentions_total"), block("equipoise_confidence")
        self._stages = block("equipoise_stage_duration_seconds")

    def add(self, policy: Policy, decisions: Decisions, raw: Labels, seconds: Sequence[float]) -> None:
        """Add n answers: whole, but for a part of the last where the process is killed in it."""
        expected = self._expectations.at_once(policy)  # worked out before the lock is taken
        with self._lock:
            if expected is None:
                self._owed.append((policy, len(raw)))
            else:
                self._expected += expected.block if len(raw) == 1 else len(raw) * expected.block
            for called, label, p in zip(raw.tolist(), decisions.labels.tolist(), decisions.probabilities, strict=True):
                self._add(called, label, p)
            if policy.can_flag:
                for image, k in zip(*(found.tolist() for found in decisions.flags.nonzero()), strict=True):
                    self._flags[self._row[k]] += 1.0
                    self._flagged[self._row[k]] += decisions.probabilities[image, k]
            for stage, took in zip(self._stages, seconds, strict=True):
                stage[bisect_left(DURATIONS, took)] += 1.0
                stage[-1] += took

    def settle(self) -> None:
        """Add what answers implied whose expectation was not known at once."""
        with self._lock:
            owed, self._owed = self._owed, []
        policies = {id(policy): policy for policy, _ in owed}
        for own, policy in policies.items():
            block = self._expectations.of(policy).block
            with self._lock:
                self._expected += sum(n for one, n in owed if id(one) == own) * block

    def _add(self, raw: int, label: int, p: NDArray[np.float64]) -> None:
        self._raw[self._row[raw]] += 1.0
        self._mass += self._rows.folded(p)
        if label == ABSTAIN:
            self._abstentions += 1.0
        else:
            self._decisions[self._row[label]] += 1.0
            self._decided[self._row[label]] += p[label]
        confidence = float(p.max())
        self._confidence[bisect_left(CONFIDENCES, confidence)] += 1.0
        self._confidence[-1] += confidence
