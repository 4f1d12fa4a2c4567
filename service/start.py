"""Before the workers: check everything that could keep them from starting, once, and say what is served."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from decision import Bundle, BundleError, load_bundle
from service.database import Database, StoreError
from service.host import HostPolicy
from service.policies import PolicyInForce, first_in_force
from service.settings import Settings, SettingsError, ensure_admin_token
from service.store import PolicyStore
from service.tokens import TokenStore

EXIT_UNUSABLE = 2
URL = "EQUIPOISE_URL"
DIGIT = "tests/data/digit.png"


def prepare() -> None:
    """Verify settings, bundle, store and network, and put a first policy in force; else exit code 2 and one line."""
    try:
        settings = Settings.from_environment()
        bundle = load_bundle(settings.model)
        # Workers run in another folder, and answer from this very bundle even when `latest` moves on.
        os.environ |= {"EQUIPOISE_MODEL": str(bundle.path.absolute()), "EQUIPOISE_STATE": str(settings.state)}
        _try_out()
        database, name = Database(settings.database_url), bundle.manifest.name
        policies = first_in_force(bundle, PolicyStore(database, name), HostPolicy(settings.state, name))
        made = _ensure_writer(TokenStore.of(database, settings.state), known=policies.host.down_since is None)
        database.close()
    except (SettingsError, BundleError, StoreError, OSError) as error:
        _refuse(error)
    print(_greeting(bundle, policies, token=os.environ["EQUIPOISE_ADMIN_TOKEN"] if made else None), flush=True)


def _ensure_writer(tokens: TokenStore, *, known: bool) -> bool:
    """Make an admin token if nobody could change the policy, or nobody is known to; True if one was made."""
    writers = known and any(token.live and "write-policy" in token.scopes for token in tokens.all())
    return not writers and ensure_admin_token()


def _try_out() -> None:
    """Answer once in a process of its own: a worker that cannot would be started again for ever.

    Not in this process, which would hold a GPU's context for as long as it lives.
    """
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", "from service.start import answer_once; answer_once()"], cwd=root)
    if done.returncode != 0:
        raise SystemExit(EXIT_UNUSABLE)


def answer_once() -> None:
    """What a worker does before it is ready."""
    from service.network import Network, NetworkError

    settings = Settings.from_environment()
    try:
        Network(load_bundle(settings.model), settings.device, settings.threads)
    except NetworkError as error:
        _refuse(error)


def die_with_parent() -> None:
    """Have the kernel end this worker when the arbiter that would end it is killed (Linux)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


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
