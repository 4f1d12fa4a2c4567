"""Gauges of /metrics: the policy in force, what the holdout implies under it, and what serves."""

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from decision import Bundle
from decision.expectation import QUANTITIES, Expectation
from decision.policy import RecallRule
from service.expectations import Expectations
from service.families import REVISION, layout
from service.metrics import MODEL
from service.policies import PolicyInForce
from service.rows import Rows
from service.tally import Array, of_workers

PACKAGES = ("equipoise", "bentoml", "onnxruntime", "onnxruntime-gpu")


class PolicyGauges(Collector):
    """Numbers of the policy in force, asked for at each scrape."""

    def __init__(self, folder: Path, bundle: Bundle, rows: Rows, policies: PolicyInForce) -> None:
        self._folder, self._rows, self._policies, self._gauges = folder, rows, policies, _Gauges(bundle)
        self._layout = layout(len(rows.names))

    def collect(self) -> Iterator[Metric]:
        enforced, gauges = self._policies.current(), self._gauges
        entry, policy = enforced.entry, enforced.policy
        yield gauges.one("equipoise_policy_revision", "Revision of the policy in force.", enforced.revision)
        yield gauges.one("equipoise_policy_updated_timestamp_seconds", "When the policy in force was stored.",
                         datetime.fromisoformat(entry.time).timestamp())  # fmt: skip
        alive = [int(path.stem) for path in self._folder.glob("*.alive")]
        held = [int(block[0]) for block in of_workers(self._folder, alive, self._layout, REVISION)]
        yield gauges.many("equipoise_worker_policy_revision", "Revision that the workers of this host decide by.",
                          ("bound",), ((("oldest",), min(held)), (("newest",), max(held))) if held else ())  # fmt: skip
        yield gauges.by_class("equipoise_policy_threshold_ratio", "Threshold on adjusted probabilities.",
                              self._rows.own(policy.rule.thresholds))  # fmt: skip
        yield gauges.by_class("equipoise_policy_prior_ratio", "Deployment prior.",
                              self._rows.named(self._rows.folded(policy.deployment_priors)))  # fmt: skip
        rule = policy.document.rule
        yield gauges.by_class("equipoise_policy_target_recall_ratio", "Recall that is certified.",
                              rule.targets.items() if isinstance(rule, RecallRule) else ())  # fmt: skip
        yield gauges.one("equipoise_store_up", "1 while the policy store answers.",
                         float(self._policies.host.down_since is None))  # fmt: skip
        yield gauges.one("equipoise_policy_fallback", "1 while the bundle's default policy is in force because the "
                         "last one cannot be.", float(entry.event == "fallback"))  # fmt: skip


class ReferenceGauges(Collector):
    """What the holdout implies at the deployment priors in force, and what serves."""

    def __init__(self, bundle: Bundle, rows: Rows, expectations: Expectations, policies: PolicyInForce) -> None:
        self._rows, self._expectations, self._policies = rows, expectations, policies
        self._gauges, self._build = _Gauges(bundle), _build()

    def collect(self) -> Iterator[Metric]:
        found, gauges, names = (
            self._expectations.of(self._policies.current().policy).found,
            self._gauges,
            self._rows.named,
        )
        yield gauges.by_class("equipoise_reference_raw_ratio", "Share of raw predictions that the deployment priors in "
                              "force imply.", names(found.of("raw").mean))  # fmt: skip
        yield gauges.by_class("equipoise_reference_images", "Held-out images of the class, related ones as one.",
                              names(found.held_out))  # fmt: skip
        yield gauges.many("equipoise_reference_effective_images", "For how many independent answers the reference "
                          "stands.", ("class", "quantity"), self._effective(found))  # fmt: skip
        yield gauges.by_class("equipoise_reference_raw_recall_ratio", "Share of the class's held-out images that are "
                              "predicted to be of it.", names(found.raw_recall))  # fmt: skip
        yield gauges.by_class("equipoise_reference_raw_fpr_ratio", "Share of the other classes' held-out images that "
                              "are predicted to be of it, at the deployment priors.", names(found.raw_fpr))  # fmt: skip
        yield gauges.by_class("equipoise_reference_flag_recall_ratio", "Share of the class's held-out images that are "
                              "flagged as it.", names(found.flag_recall))  # fmt: skip
        if found.bbse_inverse is not None and self._rows.one_each:
            yield gauges.many("equipoise_bbse_inverse", "Inverse of P(raw prediction given true class), held out.",
                              ("class", "true_class"), self._inverse(found.bbse_inverse))  # fmt: skip
        yield gauges.many("equipoise_model_info", "The model that is served.", ("classes",),
                          [((str(len(self._rows.of_class)),), 1.0)])  # fmt: skip
        build = GaugeMetricFamily("equipoise_build_info", "What serves it.", labels=tuple(self._build))
        build.add_metric(tuple(self._build.values()), 1.0)
        yield build

    def _effective(self, found: Expectation) -> Iterator[tuple[tuple[str, ...], float]]:
        for quantity in QUANTITIES:
            yield from (((name, quantity), value) for name, value in self._rows.named(found.of(quantity).images))
        yield ("", "abstention"), float(found.abstention.images)
        yield ("", "confidence"), float(found.confidence.images)

    def _inverse(self, inverse: Array) -> Iterator[tuple[tuple[str, ...], float]]:
        for true, row in zip(self._rows.names, inverse, strict=True):
            yield from (((predicted, true), value) for predicted, value in self._rows.named(row))


class _Gauges:
    """Makes gauges of one model; what is not known, NaN, is left out."""

    def __init__(self, bundle: Bundle) -> None:
        self._model = (bundle.manifest.name, bundle.manifest.version)

    def one(self, name: str, help: str, value: float) -> Metric:
        return self.many(name, help, (), [((), value)])

    def by_class(self, name: str, help: str, values: Iterable[tuple[str, float]]) -> Metric:
        return self.many(name, help, ("class",), (((own,), value) for own, value in values))

    def many(
        self, name: str, help: str, axes: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
    ) -> Metric:
        gauge = GaugeMetricFamily(name, help, labels=(*MODEL, *axes))
        for labels, value in values:
            if not isnan(value):
                gauge.add_metric((*self._model, *labels), value)
        return gauge


def _build() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package.removesuffix("-gpu")] = version(package)
    return found
