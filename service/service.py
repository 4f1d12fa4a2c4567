"""The BentoML service. Its arbiter imports this module too, so what a worker alone needs is imported in the worker."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import bentoml
from starlette.types import ASGIApp

from service.answer_schema import Answer
from service.start import die_with_parent, prepare

TOLD_SECONDS = 0.1  # in which those that uvicorn gave up are told so


class Front(bentoml.Service[Any]):
    """A BentoML service whose own routes and middleware are behind ours."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        gc.disable()  # until all is loaded, of which nothing is garbage
        from service.front import before

        return before(super().to_asgi(is_main=is_main))


@bentoml.service(
    name="equipoise",
    service_class=Front,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
class Equipoise:
    """Calibrated, prior-adjusted decisions on images, under a policy that changes while it runs."""

    def __init__(self) -> None:
        from service.front import app
        from service.serving import Serving

        app.state.worker = self.serving = Serving()

    @bentoml.api
    def predict(self, image: Path) -> Answer:
        """Classify one image. Over HTTP the route of the same path answers; this gives BentoML's client its schema."""
        return self.serving.answer(image.read_bytes())

    @bentoml.on_deployment
    @staticmethod
    def prepare() -> None:
        """Once a start, before any worker: refuse what cannot be served, store and share the first policy."""
        prepare()

    @bentoml.on_startup
    def settle(self) -> None:
        """What start-up made stays for good: the collector need not walk it. No worker outlives its arbiter."""
        gc.freeze()
        gc.enable()
        die_with_parent()
        self.serving.drain.install()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Let the last answers out: to clients, while the loop runs on, and to the store."""
        await asyncio.sleep(TOLD_SECONDS)
        await asyncio.to_thread(self.serving.close)
