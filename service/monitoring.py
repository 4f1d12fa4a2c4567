"""What a worker counts of its answers, and how it says so: to Prometheus, and to who asks for drift."""

from decision import Bundle
from service.answers import AnswerStore
from service.database import Database
from service.drifts import Drifts
from service.expectations import Expectations
from service.exposition import Exposition
from service.families import layout
from service.feedback_counts import TallyCounts
from service.metrics import Metrics
from service.policies import PolicyInForce
from service.rows import Rows
from service.snapshots import SnapshotStore
from service.ticks import Snapshots, Ticks


class Monitoring:
    """Metrics, their exposition, the snapshots of their sums, and the reports made of these."""

    def __init__(
        self, bundle: Bundle, policies: PolicyInForce, database: Database, answers: AnswerStore, *, provider: str,
        classes: int,
    ) -> None:  # fmt: skip
        rows = Rows.of(bundle, classes)
        sums, expectations = layout(len(rows.names)), Expectations(bundle, rows)
        expectations.of(policies.current().policy)  # before the first answer, however long it takes
        self.metrics = Metrics(bundle, rows, expectations, provider)
        self.feedback = TallyCounts(self.metrics.tally, rows)
        self.exposition = Exposition(bundle, rows, expectations, policies)
        store = SnapshotStore(database, bundle.manifest.name, bundle.manifest.version, sums.size)
        snapshots = Snapshots(store, policies.host.id, sums)
        self.drifts = Drifts(bundle, rows, sums, expectations, policies, store, snapshots, answers)
        self._ticks = Ticks(self.metrics, policies, snapshots, policies.host.leads)

    def close(self) -> None:
        """Keep what was counted."""
        self._ticks.close()
