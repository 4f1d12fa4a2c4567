"""What the server knows of a request's connection already: a look, where waiting would take a task or a timer.

In uvicorn a request's own `receive`, as the server gave it and nothing around it, is a method of the request's cycle,
which notes that its connection is lost, and that its body is all here. Of another server nothing is known.
"""

from collections.abc import Callable
from functools import partial

from starlette.types import Receive

DEPARTED = "equipoise.departed"
"""Where a request's scope has `departed`."""


def departed(receive: Receive) -> Callable[[], bool]:
    """Asks whether who sent a request has left; false where that is not known."""
    return partial(getattr, getattr(receive, "__self__", None), "disconnected", False)


def arrived(receive: Receive) -> bool:
    """Whether a request's body is all here, so that reading it waits for nobody; false where that is not known."""
    return not getattr(getattr(receive, "__self__", None), "more_body", True)
