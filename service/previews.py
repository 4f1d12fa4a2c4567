"""Previews of policies, made off the event loop one at a time, and kept while nothing that they rest on changes."""

import asyncio
from collections import OrderedDict

from decision import Bundle, Policy, objections, preview, replay
from service.answers import AnswerStore
from service.database import StoreError
from service.policies import Enforced
from service.preview_schemas import PreviewDocument, ReplayDocument, preview_document, replay_document

MOST_KEPT = 32
REPLAYED = 10_000


class Previews:
    """Of one worker."""

    def __init__(self, bundle: Bundle, answers: AnswerStore) -> None:
        self._bundle, self._answers = bundle, answers
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[tuple[int, str], PreviewDocument] = OrderedDict()

    async def of(self, policy: Policy, against: Enforced) -> PreviewDocument:
        """What `policy` would do, beside what is in force, by the holdout: what the guard goes by."""
        async with self._turn:
            return await self._of(policy, against)

    async def with_answers(self, policy: Policy, against: Enforced) -> PreviewDocument:
        """`of`, and what it would have done with the last answers: null where there are none, or no store."""
        async with self._turn:
            found = await self._of(policy, against)
            return found.model_copy(update={"answers": await asyncio.to_thread(self._replayed, policy, against)})

    async def _of(self, policy: Policy, against: Enforced) -> PreviewDocument:
        key = (against.revision, policy.document.model_dump_json())
        if key not in self._kept:
            self._kept[key] = await asyncio.to_thread(self._made, policy, against)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _made(self, policy: Policy, against: Enforced) -> PreviewDocument:
        found = preview(self._bundle, policy, against=against.policy)
        return preview_document(found, policy, against.revision, objections(found, policy, against.policy))

    def _replayed(self, policy: Policy, against: Enforced) -> ReplayDocument | None:
        try:
            probabilities = self._answers.last(REPLAYED).probabilities
        except StoreError:
            return None
        return replay_document(replay(policy, against.policy, probabilities)) if len(probabilities) else None
