"""The BentoML service: request → decode → infer → calibrate → adjust priors → decide → record → respond."""

import asyncio
import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import bentoml

from decision import load_bundle, read_image
from service.access import Access
from service.answer_log import AnswerLog
from service.answers import AnswerStore
from service.audits import AuditStore
from service.database import Database, StoreError
from service.follower import Follower
from service.front import Front, app
from service.host import HostPolicy
from service.labels import LabelStore
from service.observed import Observed
from service.outcomes import OutcomeReader
from service.policies import PolicyInForce
from service.previews import Previews
from service.qualities import Qualities
from service.schemas import Answer, explanation, uuid7
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
        self.pool = ThreadPoolExecutor(max(2, self.settings.threads), thread_name_prefix="predict")
        app.state.worker = self

    @bentoml.api
    def predict(self, image: Path) -> Answer:
        """Classify one image. Over HTTP the route of the same path answers; this gives BentoML's client its schema."""
        return self.answer(image.read_bytes())

    def answer(self, image: bytes, *, explain: bool = False) -> Answer:
        """The answer to one encoded image, under one policy. Raises ImageError."""
        begun = time.perf_counter()
        enforced = self.policies.current()
        policy = enforced.policy
        pixels = read_image(image, self.bundle.input, max_pixels=self.settings.max_pixels)
        decoded = time.perf_counter()
        raw = self.network.logits(pixels[None])
        inferred = time.perf_counter()
        logits = policy.calibration.logits(raw)
        decisions = policy.decide_calibrated(logits)
        seconds = (decoded - begun, inferred - decoded, time.perf_counter() - inferred)
        self.metrics.answered(policy, decisions, logits.argmax(axis=1), seconds)
        answer_id = uuid7()
        self.answer_log.note(answer_id, enforced.revision, int(decisions.labels[0]), logits[0], decisions.flags[0])
        return Answer(
            id=answer_id,
            label=policy.label(decisions.labels[0]),
            abstained=bool(decisions.labels[0] < 0),
            flags=policy.named(decisions.flags[0]),
            probabilities=policy.by_class(decisions.probabilities[0]),
            policy_revision=enforced.revision,
            model=self.bundle.id,
            explanation=explanation(policy, logits, decisions) if explain else None,
        )

    async def respond(self, image: bytes, *, explain: bool) -> Answer:
        """`answer` on the worker's own threads, so that decoding and inference never hold up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(self.answer, image, explain=explain))

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
        self.pool.shutdown()
        self.stored.shutdown(wait=False, cancel_futures=True)
        self.answer_log.close()
        self.monitoring.close()
        self.follower.close()
        self.tokens.close()
