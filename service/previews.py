"""Previews of policies, made off the event loop one at a time, and kept while nothing that they rest on changes."""

import asyncio
from collections import OrderedDict

from decision import Bundle, Policy, objections, preview
from service.policies import Enforced
from service.preview_schemas import PreviewDocument, preview_document

MOST_KEPT = 32


class Previews:
    """Of one worker."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[tuple[int, str], PreviewDocument] = OrderedDict()

    async def of(self, policy: Policy, against: Enforced) -> PreviewDocument:
        """What `policy` would do, beside what is in force."""
        key = (against.revision, policy.document.model_dump_json())
        async with self._turn:
            if key not in self._kept:
                self._kept[key] = await asyncio.to_thread(self._made, policy, against)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def _made(self, policy: Policy, against: Enforced) -> PreviewDocument:
        found = preview(self._bundle, policy, against=against.policy)
        return preview_document(found, policy, against.revision, objections(found, policy, against.policy))
