"""/metrics of the whole host, from any worker: what all of them counted, and what policy and holdout say now."""

import fcntl
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from decision import Bundle
from service.expectations import Expectations
from service.families import CLOSED, FAMILIES, WITHOUT_MODEL, Family, layout
from service.gauges import PolicyGauges, ReferenceGauges
from service.metrics import MODEL, folder
from service.policies import PolicyInForce
from service.rows import Rows
from service.tally import Array, added_up


class Exposition:
    """Renders the metrics. Workers hold a lock each for as long as they live."""

    def __init__(self, bundle: Bundle, rows: Rows, expectations: Expectations, policies: PolicyInForce) -> None:
        self._folder = folder()
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, path=str(self._folder))
        self._registry.register(TallyCollector(self._folder, bundle, rows))
        self._registry.register(PolicyGauges(self._folder, bundle, rows, policies))
        self._registry.register(ReferenceGauges(bundle, rows, expectations, policies))
        self._alive = _hold_lock(self._folder / f"{os.getpid()}.alive")

    def render(self) -> bytes:
        """The text format, without what dead workers alone would say."""
        _reap(self._folder)
        return generate_latest(self._registry)


class TallyCollector(Collector):
    """The families of tallies."""

    def __init__(self, folder: Path, bundle: Bundle, rows: Rows) -> None:
        self._folder, self._layout = folder, layout(len(rows.names))
        self._model = (bundle.manifest.name, bundle.manifest.version)
        axes = dict(CLOSED) | {"class": rows.names}
        self._labels = {family.name: list(product(*(axes[axis] for axis in family.axes))) for family in FAMILIES}

    def collect(self) -> Iterator[Metric]:
        total = added_up(self._folder, self._layout)
        for family in FAMILIES:
            yield self._metric(family, self._layout.block(total, family.name))

    def _metric(self, family: Family, sums: Array) -> Metric:
        own = () if family.name in WITHOUT_MODEL else MODEL
        names, first = (*own, *family.axes), self._model if own else ()
        labels = ((*first, *one) for one in self._labels[family.name])
        if not family.buckets:
            counter = CounterMetricFamily(family.name, family.help, labels=names)
            for values, total in zip(labels, sums.ravel().tolist(), strict=True):
                counter.add_metric(values, total)
            return counter
        histogram = HistogramMetricFamily(family.name, family.help, labels=names)
        edges = [*map(floatToGoString, family.buckets), "+Inf"]
        for values, row in zip(labels, sums.reshape(-1, len(edges) + 1), strict=True):
            histogram.add_metric(values, list(zip(edges, row[:-1].cumsum().tolist(), strict=True)), float(row[-1]))
        return histogram


def _reap(folder: Path) -> None:
    """The kernel drops a dead worker's lock at once, long before its arbiter notices."""
    for path in folder.glob("*.alive"):
        if path.stem == str(os.getpid()):
            continue
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark_process_dead(int(path.stem), path=str(folder))
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)


def _hold_lock(path: Path) -> int:
    """Lock a file before any scrape can see its name; the kernel drops the lock when this process ends."""
    unseen = path.with_suffix(".new")
    fd = os.open(unseen, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.rename(unseen, path)
    return fd
