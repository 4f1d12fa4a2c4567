"""How a worker ends when it is asked to: what came is answered, nothing new is taken, and an end comes for certain.

SIGTERM ─▶ go on for a moment, each answer closing its connection ─▶ accept no more ─▶ uvicorn waits for what is under
way, then cancels it (503) ─▶ the last answers are stored ─▶ the process ends, at the latest after `seconds`
"""

import asyncio
import logging
import os
import signal
import threading
from types import FrameType

import uvicorn

log = logging.getLogger("equipoise")

LINGER_SECONDS = 1.0  # in which a connection that is kept open hears that it closes, and a backlog is accepted
READ_SECONDS = 0.1  # in which what came with the last connections is read
STORE_SECONDS = 6.0  # of the bound, for the last answers to be stored in
EXIT_GIVEN_UP = 1


class Drain:
    """Stands before uvicorn's own handler of SIGTERM, in a worker whose end is bound to come within `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.under_way = False

    def install(self) -> None:
        """On the loop of a uvicorn that has put its handlers in place; elsewhere nothing is changed."""
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if isinstance(server, uvicorn.Server):
            self._server, self._loop = server, asyncio.get_running_loop()
            server.config.timeout_graceful_shutdown = max(1, round(self._seconds - LINGER_SECONDS - STORE_SECONDS))
            signal.signal(signal.SIGTERM, self._asked)

    def _asked(self, signum: int, frame: FrameType | None) -> None:
        if self._loop is None or self.under_way:
            return
        self.under_way = True
        last = threading.Timer(self._seconds, self._give_up)
        last.daemon = True
        last.start()
        asyncio.run_coroutine_threadsafe(self._close(signum), self._loop)

    async def _close(self, signum: int) -> None:
        assert self._server is not None
        until = asyncio.get_running_loop().time() + LINGER_SECONDS
        while self._server.server_state.connections and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(READ_SECONDS / 2)
        for listener in self._server.servers:
            listener.close()
        await asyncio.sleep(READ_SECONDS)
        self._server.handle_exit(signum, None)

    def _give_up(self) -> None:
        log.error("ended after EQUIPOISE_DRAIN=%g seconds with work under way", self._seconds)
        os._exit(EXIT_GIVEN_UP)
