"""The BentoML service: request → decode → infer → calibrate → adjust priors → decide → record → respond."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import bentoml

from decision import load_bundle
from service.access import Access
from service.answer_log import AnswerLog
from service.answering import Answering
from service.answers import AnswerStore
from service.asked import OneImage
from service.audits import AuditStore
from service.batcher import Batcher
from service.database import Database, StoreError
from service.follower import Follower
from service.front import Front, app
from service.heap import keep_freed_memory
from service.host import HostPolicy
from service.labels import LabelStore
from service.observed import Observed
from service.outcomes import OutcomeReader
from service.policies import PolicyInForce
from service.previews import Previews
from service.qualities import Qualities
from service.schemas import Answer
from service.settings import Settings
from service.start import die_with_parent, prepare
from service.store import PolicyStore
from service.terms import PastTerms
from service.tokens import TokensInForce, TokenStore

STORE_SECONDS = 5.0
Answered = TypeVar("Answered")


@bentoml.service(
    name="equipoise",
    service_class=Front,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
@bentoml.asgi_app(app, path="/")
class Equipoise:
    """Calibrated, prior-adjusted decisions on images, under a policy that changes while it runs."""

    def __init__(self) -> None:
        # Imported here, in the worker: the metrics bind to the folder that BentoML's arbiter names in its environment.
        from service.monitoring import Monitoring
        from service.network import Network

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
        self.batcher = Batcher(self.answering.answers, patience=self.settings.patience, timeout=self.settings.timeout,
                               counts=self.metrics, quick=lambda: self.policies.fresh)  # fmt: skip
        app.state.worker = self

    @bentoml.api
    def predict(self, image: Path) -> Answer:
        """Classify one image. Over HTTP the route of the same path answers; this gives BentoML's client its schema."""
        return self.answer(image.read_bytes())

    def answer(self, image: bytes) -> Answer:
        """The answer to one encoded image. Raises ImageError."""
        [found] = self.answering.answers([OneImage(image)])
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

    @bentoml.on_deployment
    @staticmethod
    def prepare() -> None:
        """Once a start, before any worker: refuse what cannot be served, store and share the first policy."""
        prepare()

    @bentoml.on_startup
    def freeze(self) -> None:
        """What start-up made stays for good: the collector need not walk it again. No worker outlives its arbiter."""
        gc.collect()
        gc.freeze()
        die_with_parent()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Let the last answers out."""
        self.batcher.close()
        self.stored.shutdown(wait=False, cancel_futures=True)
        self.answer_log.close()
        self.monitoring.close()
        self.follower.close()
        self.tokens.close()
