"""Reports of drift, made off the event loop one at a time."""

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress

from decision import Bundle
from decision.drift import LEAST_SCORES, LONG, SHORT
from service.answers import AnswerStore
from service.counted import Counted
from service.database import StoreError
from service.drift_schemas import DriftDocument, drift_document
from service.estimates import SAMPLED, Estimator
from service.expectations import Expectations
from service.policies import PolicyInForce
from service.rows import Rows
from service.snapshots import SnapshotStore
from service.tally import Layout
from service.ticks import Snapshots
from service.turn import Turn

HOUR = 3600.0
FRESH_SECONDS = 15.0
MOST_CACHED = 8


class Drifts:
    """Makes one worker's reports, and keeps the last ones for a moment, by window and revision."""

    def __init__(
        self, bundle: Bundle, rows: Rows, layout: Layout, expectations: Expectations, policies: PolicyInForce,
        store: SnapshotStore, snapshots: Snapshots, answers: AnswerStore,
    ) -> None:  # fmt: skip
        self._bundle, self._rows, self._layout, self._expectations = bundle, rows, layout, expectations
        self._policies, self._store, self._snapshots, self._answers = policies, store, snapshots, answers
        self._estimator = Estimator(bundle)
        self._turn = Turn("reports")
        self._cached: OrderedDict[tuple[float, int], tuple[float, DriftDocument]] = OrderedDict()

    async def of(self, seconds: float) -> DriftDocument:
        """Drift over the last seconds. Raises StoreError; Problem 429 where some wait already."""
        async with self._turn.taken():
            key = (seconds, self._policies.current().revision)
            made, found = self._cached.get(key, (float("-inf"), None))
            if found is None or time.monotonic() - made > FRESH_SECONDS:
                found = await asyncio.to_thread(self._made, seconds)
                self._cached[key] = time.monotonic(), found
                self._cached.move_to_end(key)
                if len(self._cached) > MOST_CACHED:
                    self._cached.popitem(last=False)
            return found

    def _made(self, seconds: float) -> DriftDocument:
        now = time.time()
        with suppress(StoreError):  # what can be read is told, were nothing to be written
            self._snapshots.keep()  # this host's counts up to now; those of others are up to a minute old
        ahead = now + HOUR  # as another host's clock may be
        increase = self._store.increase(round(1000 * (now - seconds)), round(1000 * ahead))
        enforced = self._policies.current()
        policy = enforced.policy
        probabilities = self._answers.sampled(now - seconds, SAMPLED).probabilities
        counted = Counted(self._layout, increase, self._expectations.of(policy).found)
        return drift_document(
            self._bundle.id, enforced.revision, policy, self._rows, counted,
            self._estimator.of(policy, probabilities), LEAST_SCORES[SHORT if seconds <= HOUR else LONG],
        )  # fmt: skip
