"""Previews of policies, made off the event loop one at a time."""

import asyncio
from collections import OrderedDict

from decision import Bundle, Policy, objections, preview, replay
from service.answers import AnswerStore
from service.database import StoreError
from service.policies import Enforced
from service.preview_schemas import PreviewDocument, ReplayDocument, preview_document, replay_document
from service.turn import Turn

MOST_CACHED = 32
REPLAYED = 10_000


class Previews:
    """Makes one worker's previews, and keeps the last ones by policy and revision held against."""

    def __init__(self, bundle: Bundle, answers: AnswerStore) -> None:
        self._bundle, self._answers = bundle, answers
        self._turn = Turn("previews")
        self._cached: OrderedDict[tuple[int, str], PreviewDocument] = OrderedDict()

    async def of(self, policy: Policy, against: Enforced) -> PreviewDocument:
        """What `policy` would do, beside what is in force, by the holdout: what the guard goes by."""
        async with self._turn.waited_for():
            return await self._of(policy, against)

    async def with_answers(self, policy: Policy, against: Enforced) -> PreviewDocument:
        """`of`, and what it would have done with the last answers: null where there are none, or no store.

        Problem 429 where some wait already: it is a question, and a change must not wait behind many.
        """
        async with self._turn.taken():
            found = await self._of(policy, against)
            return found.model_copy(update={"answers": await asyncio.to_thread(self._replayed, policy, against)})

    async def _of(self, policy: Policy, against: Enforced) -> PreviewDocument:
        key = (against.revision, policy.document.model_dump_json())
        if key not in self._cached:
            self._cached[key] = await asyncio.to_thread(self._made, policy, against)
        self._cached.move_to_end(key)
        if len(self._cached) > MOST_CACHED:
            self._cached.popitem(last=False)
        return self._cached[key]

    def _made(self, policy: Policy, against: Enforced) -> PreviewDocument:
        found = preview(self._bundle, policy, against=against.policy)
        assert found.comparison
        said = objections(found.comparison, policy, against.policy)
        return preview_document(found, found.comparison, policy, against.revision, said)

    def _replayed(self, policy: Policy, against: Enforced) -> ReplayDocument | None:
        try:
            probabilities = self._answers.last(REPLAYED).probabilities
        except StoreError:
            return None
        return replay_document(replay(policy, against.policy, probabilities)) if len(probabilities) else None
