"""Whether a client has left, as the server knows it already: a look, and no task that waits for it."""

from collections.abc import Callable
from functools import partial

from starlette.types import Receive

DEPARTED = "equipoise.departed"
"""Where a request's scope has it."""


def departed(receive: Receive) -> Callable[[], bool]:
    """Asks whether who sent a request has left; its own `receive` as the server gave it, nothing around it.

    In uvicorn that is a method of the request's cycle, which notes when its connection is lost. Another server's client
    never leaves before the answer.
    """
    return partial(getattr, getattr(receive, "__self__", None), "disconnected", False)
