"""What a worker is made of: request → decode → infer → calibrate → adjust priors → decide → record → respond."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from decision import load_bundle
from service.access import Access
from service.answer_log import AnswerLog
from service.answer_schema import Answer
from service.answering import Answering
from service.answers import AnswerStore
from service.asked import OneImage
from service.audits import AuditStore
from service.batcher import ALONE_SECONDS, INLINE_SECONDS, Batcher
from service.database import Database, StoreError
from service.drain import Drain
from service.follower import Follower
from service.heap import keep_freed_memory
from service.host import HostPolicy
from service.labels import LabelStore
from service.monitoring import Monitoring
from service.network import Network
from service.observed import Observed
from service.outcomes import OutcomeReader
from service.policies import PolicyInForce
from service.previews import Previews
from service.qualities import Qualities
from service.reading import Reading
from service.settings import Settings
from service.store import PolicyStore
from service.terms import PastTerms
from service.tokens import TokensInForce, TokenStore

STORE_SECONDS = 5.0
Answered = TypeVar("Answered")


class Serving:
    """All that one worker holds, from start to close.

    Only a worker imports this module: the metrics bind to the folder that BentoML's arbiter names in its environment.
    """

    def __init__(self) -> None:
        keep_freed_memory()
        self.settings = Settings.from_environment()
        self.bundle = load_bundle(self.settings.model)
        self.network = Network(self.bundle, self.settings.device, self.settings.threads)
        database, name, state = Database(self.settings.database_url), self.bundle.manifest.name, self.settings.state
        self.store = PolicyStore(database, name)
        self.policies = PolicyInForce(self.bundle, self.store, HostPolicy(state, name))
        self.follower = Follower(self.policies, self.store)
        self.answers = AnswerStore(database, name, self.bundle.manifest.version, len(self.bundle.classes))
        self.monitoring = Monitoring(self.bundle, self.policies, database, self.answers,
                                     provider=self.network.provider, classes=self.settings.metric_classes)  # fmt: skip
        self.metrics, counts = self.monitoring.metrics, self.monitoring.feedback
        self.previews = Previews(self.bundle, self.answers)
        outcomes = OutcomeReader(database, self.bundle, PastTerms(self.bundle, self.store))
        self.labels = LabelStore(database, self.bundle, self.answers, outcomes, counts)
        self.audits = AuditStore(database, self.bundle, self.answers, outcomes, counts)
        self.qualities = Qualities(Observed(self.bundle, outcomes))
        self.answer_log = AnswerLog(self.answers, leads=self.policies.host.leads, dropped=self.metrics.dropped)
        admin, reader = self.settings.admin_token, self.settings.predict_token
        self.tokens = TokensInForce(TokenStore.of(database, state), admin, reader)
        self.access = Access(self.tokens, closed=bool(reader), count=self.metrics.refused)
        self.stored = ThreadPoolExecutor(4, thread_name_prefix="store")
        self.answering = Answering(self.bundle, self.network, self.policies, self.metrics, self.answer_log,
                                   max_pixels=self.settings.max_pixels, threads=self.settings.threads)  # fmt: skip
        inline = INLINE_SECONDS if self.settings.threads > 1 else ALONE_SECONDS
        self.batcher = Batcher(self.answering.answers, patience=self.settings.patience, timeout=self.settings.timeout,
                               counts=self.metrics, inline=inline, quick=lambda: self.policies.fresh)  # fmt: skip
        self.reading = Reading(turned_away=self.metrics.turned_away)
        self.drain = Drain(self.settings.drain)

    def answer(self, image: bytes) -> Answer:
        """The answer to one encoded image. Raises ImageError."""
        worked = self.answering.answers([OneImage(image)])
        worked.afterwards()
        [found] = worked.found
        if isinstance(found, Exception):
            raise found
        return Answer.model_validate_json(found)

    async def ask_store(self, ask: Callable[..., Answered], *arguments: Any, **options: Any) -> Answered:
        """What the database says, asked on threads of its own: one that hangs holds up nothing else.

        Raises StoreError, also where it takes longer than a moment.
        """
        asked = asyncio.get_running_loop().run_in_executor(self.stored, partial(ask, *arguments, **options))
        try:
            return await asyncio.wait_for(asked, STORE_SECONDS)
        except TimeoutError:
            self.policies.host.note_database_down()
            raise StoreError(f"the database has not answered for {STORE_SECONDS} seconds") from None

    def close(self) -> None:
        """Let the last answers out."""
        self.reading.close()
        self.batcher.close()
        self.stored.shutdown(wait=False, cancel_futures=True)
        self.answer_log.close()
        self.monitoring.close()
        self.follower.close()
        self.tokens.close()
