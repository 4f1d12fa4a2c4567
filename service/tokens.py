"""Who may do what: bearer tokens, compared in constant time."""

import hmac
from typing import Literal

from starlette.requests import Request

from service.problems import Problem
from service.settings import Settings

Scope = Literal["read", "write-policy"]
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="equipoise"'}


def require(request: Request, scope: Scope, settings: Settings) -> str:
    """The actor behind a request that may do `scope`; a Problem 401 (no token) or 403 (a wrong one) otherwise.

    Writing needs the admin token; reading and predicting are open unless EQUIPOISE_PREDICT_TOKEN is set.
    """
    accepted = {"admin": settings.admin_token}
    if scope == "read":
        if not settings.predict_token:
            return "anonymous"
        accepted["predict"] = settings.predict_token
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "no-token", "expected the header Authorization: Bearer TOKEN", headers=CHALLENGE)
    matches = [actor for actor, right in accepted.items() if right and _equal(token, right)]
    if not matches:
        raise Problem(403, "wrong-token", "the token is not one that may do this")
    return matches[0]


def _equal(token: str, right: str) -> bool:
    came = token.strip().encode("latin-1")  # as it was on the wire
    return hmac.compare_digest(came, right.encode())
