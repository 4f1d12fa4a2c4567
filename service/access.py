"""Who may do what: the scope that each route needs, and what becomes of a request without it."""

import asyncio
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Literal, NoReturn

from starlette.requests import Request

from service.problems import RETRY_AFTER, Problem
from service.tokens import Scope, Token, TokensInForce

Reason = Literal["missing", "wrong", "revoked", "scope"]
ANONYMOUS = "anonymous"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="equipoise"'}

REQUIRED: Mapping[str, Scope | None] = {
    "POST /predict": "predict",
    "POST /predict/batch": "predict",
    "GET /config": "read",
    "PUT /config": "write-policy",
    "PATCH /config": "write-policy",
    "POST /config/preview": "read",
    "GET /config/history": "read",
    "POST /config/rollback": "write-policy",
    "GET /drift": "read",
    "POST /feedback": "feedback",
    "GET /audit-sample": "feedback",
    "GET /quality": "read",
    "GET /model": "read",
    "POST /v2/models/{name}/infer": "predict",
    "POST /v2/models/{name}/versions/{version}/infer": "predict",
    "GET /v2/models/{name}": "read",
    "GET /v2/models/{name}/versions/{version}": "read",
    "GET /v2/models/{name}/ready": None,
    "GET /v2/models/{name}/versions/{version}/ready": None,
    "GET /v2": None,
    "GET /v2/health/live": None,
    "GET /v2/health/ready": None,
    "GET /metrics": None,
    "GET /livez": None,
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /docs": None,
    "GET /docs.json": None,
}
"""What a route needs; HEAD needs what GET does. None: nothing, ever."""
OPENABLE: frozenset[Scope] = frozenset({"predict", "read"})
"""Open to everybody unless EQUIPOISE_PREDICT_TOKEN is set."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0
MEMORY_SECONDS = 60.0
MOST_ADDRESSES, MOST_WAITING = 1024, 64


class Slowdown:
    """How long to hold back the answer to a wrong token: twice as long for each one of the address's last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._waiting = 0

    def failed(self, address: str) -> float:
        """Note a failure; the seconds to hold its answer back."""
        times = self._failures.setdefault(_neighbourhood(address), deque(maxlen=8))
        self._failures.move_to_end(_neighbourhood(address))
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        now = self._clock()
        times.append(now)
        recent = sum(then > now - MEMORY_SECONDS for then in times)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (recent - 1))

    async def hold(self, address: str) -> None:
        """Wait as `failed` says. Problem 429 where too many answers wait already: none waits for a place to wait."""
        seconds = self.failed(address)
        if self._waiting >= MOST_WAITING:
            raise Problem(429, "too-many-failures", "too many wrong tokens at once", headers=RETRY_AFTER)
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1


class Access:
    """Asks each request for its token. `count` is told why one was turned away."""

    def __init__(self, tokens: TokensInForce, *, closed: bool, count: Callable[[Reason], None]) -> None:
        self._tokens, self.closed, self._count = tokens, closed, count
        self._slowdown = Slowdown()

    async def require(self, request: Request, route: str) -> str:
        """The actor behind a request that may have this route of REQUIRED: its token's name.

        Problem 401 without a token, 403 with one that is wrong, revoked or lacks the scope, 503 with one that is not
        known while the store was never read. A wrong one is answered late. Where anybody may, a request with a useless
        token is anybody's.
        """
        scope = REQUIRED[route]
        presented = _bearer(request)
        token = await self._find(presented) if presented else None
        if scope is None or (scope in OPENABLE and not self.closed):
            return token.name if token and token.live else ANONYMOUS
        if not presented:
            self._refuse("missing", Problem(401, "no-token", "expected the header Authorization: Bearer TOKEN",
                                            headers=CHALLENGE))  # fmt: skip
        if token is None and not self._tokens.loaded:
            raise Problem(503, "store-unavailable", "tokens cannot be looked up: the store does not answer",
                          headers=RETRY_AFTER)  # fmt: skip
        if token is None or not token.live:
            await self._slow_down(request, token)
        elif scope in token.scopes:
            return token.name
        self._refuse("scope", Problem(403, "missing-scope", f"the token lacks the scope {scope!r}", scope=scope))

    async def _find(self, presented: bytes) -> Token | None:
        if self._tokens.stale:
            await asyncio.to_thread(self._tokens.refresh)
        return self._tokens.find(presented)

    async def _slow_down(self, request: Request, token: Token | None) -> NoReturn:
        self._count("wrong" if token is None else "revoked")
        await self._slowdown.hold(request.client.host if request.client else "")
        if token is None:
            raise Problem(403, "wrong-token", "the token is not one that may do this")
        raise Problem(403, "revoked-token", "the token was revoked")

    def _refuse(self, reason: Reason, problem: Problem) -> NoReturn:
        self._count(reason)
        raise problem


def _bearer(request: Request) -> bytes:
    """The token as it was on the wire; empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _neighbourhood(address: str) -> str:
    """An IPv6 address stands for its /64: one client has them all."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
