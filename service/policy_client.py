"""/config as a terminal asks for it: the service's JSON, or the exit code and the lines that say why there is none."""

import json
from http import HTTPStatus
from typing import Any

import httpx

from service.policy_text import problem_lines

DONE, DIFFERENT, UNUSABLE, GUARDED, STALE, FORBIDDEN, UNAVAILABLE, PENDING = range(8)
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0

_CODES = {401: FORBIDDEN, 403: FORBIDDEN, 409: GUARDED, 412: STALE, 429: UNAVAILABLE}


class Refused(Exception):
    """What was asked for was not done. `problem` is what the service said, where it said something."""

    def __init__(self, code: int, *lines: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__("\n".join(lines))
        self.code, self.problem = code, problem


class ConfigClient:
    """One service. Every method raises Refused."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise Refused(UNUSABLE, f"expected a URL like http://127.0.0.1:3000, got {url!r}")
        headers = {b"Authorization": f"Bearer {token}".encode()} if token else {}
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)  # a wait is half of it at most
        try:  # the environment may name proxies and certificates besides
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
            raise Refused(UNUSABLE, f"cannot ask {url!r}: {error}") from None
        self._url = url

    def __enter__(self) -> "ConfigClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def in_force(self) -> dict[str, Any]:
        """GET /config."""
        return self._ask("GET", "/config", "policy")[1]

    def preview(self, document: bytes) -> dict[str, Any]:
        """What a policy document, as JSON, would do."""
        return self._ask("POST", "/config/preview", "figures", content=document)[1]

    def drift(self, window: str) -> dict[str, Any]:
        """What was answered in a window, and the priors estimated from it."""
        return self._ask("GET", "/drift", "estimated_priors", params={"window": window})[1]

    def history(self, limit: int, before: int | None = None) -> dict[str, Any]:
        """The newest revisions (before a number), newest first."""
        params = {"limit": limit} | ({} if before is None else {"before": before})
        return self._ask("GET", "/config/history", "revisions", params=params)[1]

    def revision(self, number: int) -> dict[str, Any]:
        """One of history."""
        for found in self.history(1, number + 1)["revisions"]:
            if found["revision"] == number:
                return dict(found)
        raise Refused(UNUSABLE, f"history has no revision {number}; policy history shows those that there are")

    def before(self, number: int) -> dict[str, Any]:
        """The revision before that of a number."""
        for found in self.history(1, number)["revisions"]:
            return dict(found)
        raise Refused(UNUSABLE, f"history has no revision before {number}")

    def change(
        self, method: str, path: str, document: bytes, expected: int, *, wait: int | None = None, **params: str
    ) -> tuple[bool, dict[str, Any]]:
        """A write on top of revision `expected`: whether it is in force wherever it was to be, and the answer."""
        headers = {"If-Match": f'"{expected}"'} | ({} if wait is None else {"Prefer": f"wait={wait}"})
        status, answer = self._ask(method, path, "policy", content=document, headers=headers, params=params)
        return status != HTTPStatus.ACCEPTED, answer

    def _ask(self, method: str, path: str, holds: str, **request: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer that is one of ours: it `holds` this key."""
        try:
            answer = self._http.request(method, path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = [f"{self._url} does not answer: {str(error) or type(error).__name__}"]
            if "If-Match" in request.get("headers", {}) and not isinstance(error, httpx.ConnectError):
                said.append("the change may have been made all the same; policy get shows what is in force")
            raise Refused(UNAVAILABLE, *said) from None
        try:
            found = json.loads(answer.content)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            if answer.is_success and holds in found:
                return answer.status_code, found
            if answer.is_error and str(found.get("type")).startswith("urn:equipoise:problem:"):
                code = _CODES.get(answer.status_code, UNUSABLE if answer.is_client_error else UNAVAILABLE)
                raise Refused(code, *problem_lines(answer.status_code, found), problem=found)
        came = f"{answer.status_code} {answer.headers.get('content-type', '')}".rstrip()
        raise Refused(UNAVAILABLE, f"expected an Equipoise service at {self._url}, got {came} for {path}")
