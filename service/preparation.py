"""What `service.start` has done beside the arbiter: check all that could keep a worker from starting, and say it.

A process of its own: it works while the arbiter is still loading BentoML, tries the network without leaving a GPU's
context behind, and takes with it what the arbiter never needs.
"""

import json
import os
import sys
from typing import NoReturn

from decision import Bundle, BundleError, load_bundle
from service import tracing
from service.database import Database, StoreError
from service.host import HostPolicy
from service.network import Network, NetworkError
from service.policies import PolicyInForce, first_in_force
from service.settings import Settings, SettingsError, ensure_admin_token
from service.start import EXIT_UNUSABLE, URL
from service.store import PolicyStore
from service.tokens import TokenStore

DIGIT = "tests/data/digit.png"


def main() -> None:
    """Verify settings, bundle, store and network, and put a first policy in force; else exit code 2 and one line.

    Writes JSON: the environment that workers are to have, and the greeting.
    """
    try:
        settings = Settings.from_environment()
        tracing.collector()
        bundle = load_bundle(settings.model)
        # What a worker does before it is ready: one that cannot would be started again for ever.
        Network(bundle, settings.device, settings.threads)
        database, name = Database(settings.database_url), bundle.manifest.name
        policies = first_in_force(bundle, PolicyStore(database, name), HostPolicy(settings.state, name))
        made = _ensure_writer(TokenStore.of(database, settings.state), known=policies.host.down_since is None)
        database.close()
    except (SettingsError, BundleError, NetworkError, StoreError, OSError) as error:
        _refuse(error)
    # Workers run in another folder, and answer from this very bundle even when `latest` moves on.
    environment = {"EQUIPOISE_MODEL": str(bundle.path.absolute()), "EQUIPOISE_STATE": str(settings.state)}
    token = os.environ["EQUIPOISE_ADMIN_TOKEN"] if made else None
    given = {"EQUIPOISE_ADMIN_TOKEN": token} if token else {}
    json.dump({"environment": environment | given, "greeting": _greeting(bundle, policies, token)}, sys.stdout)


def _ensure_writer(tokens: TokenStore, *, known: bool) -> bool:
    """Make an admin token if nobody could change the policy, or nobody is known to; True if one was made."""
    writers = known and any(token.live and "write-policy" in token.scopes for token in tokens.all())
    return not writers and ensure_admin_token()


def _refuse(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_UNUSABLE)


def _greeting(bundle: Bundle, policies: PolicyInForce, token: str | None) -> str:
    url = os.environ.get(URL, "http://HOST:PORT")  # plain `bentoml serve` does not say
    image = DIGIT if bundle.manifest.name == "digits" and os.path.exists(DIGIT) else "IMAGE"
    revision = policies.current().revision
    made = f"  TOKEN={token}   # the admin token, made for this start\n" if token else ""
    client = f"  EQUIPOISE_URL={url} EQUIPOISE_TOKEN=$TOKEN python -m service policy get\n"
    return (
        f"\nEquipoise serves {bundle.id} under policy revision {revision}.\n\n"
        f"  curl -F image=@{image} {url}/predict\n{made}"
        f'  curl -X PUT {url}/config -H "Authorization: Bearer $TOKEN" -H \'If-Match: "{revision}"\' \\\n'
        f'    -d \'{{"rule": {{"kind": "argmax"}}}}\'\n'
        f"{client}"
    )


if __name__ == "__main__":
    main()
