"""Reports of observed quality, made off the event loop one at a time."""

import asyncio

from service.feedback_schemas import CohortDocument
from service.observed import Observed, Split
from service.turn import Turn


class Qualities:
    """Makes one worker's reports."""

    def __init__(self, observed: Observed) -> None:
        self._observed, self._turn = observed, Turn("reports")

    async def of(self, seconds: float, split: Split | None) -> list[CohortDocument]:
        """Of the answers of the last so many seconds. Raises StoreError; Problem 429 where some wait already."""
        async with self._turn.taken():
            return await asyncio.to_thread(self._observed.cohorts, seconds, split)
