"""Before the workers: check everything that could keep them from starting, once, and say what is served."""

import logging
import os
import sys

from decision import Bundle, BundleError, load_bundle
from service.policies import PolicyInForce, SharedRevision
from service.settings import Settings, SettingsError, ensure_admin_token
from service.store import PolicyStore, StoreError

log = logging.getLogger("equipoise")

EXIT_UNUSABLE = 2
URL = "EQUIPOISE_URL"
DIGIT = "tests/data/digit.png"


def prepare() -> None:
    """Verify settings, bundle and store, and put a first policy in force; exit code 2 and one line otherwise."""
    made = ensure_admin_token()
    try:
        settings = Settings.from_environment()
        bundle = load_bundle(settings.model)
        store = PolicyStore(settings.database_url, bundle.manifest.name)
        policies = PolicyInForce.prepare(bundle, store, SharedRevision.of(settings.state, bundle))
    except (SettingsError, BundleError, StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_UNUSABLE) from None
    store.close()
    print(_greeting(bundle, policies, token=os.environ["EQUIPOISE_ADMIN_TOKEN"] if made else None), flush=True)


def _greeting(bundle: Bundle, policies: PolicyInForce, token: str | None) -> str:
    url = os.environ.get(URL, "http://127.0.0.1:3000")
    image = DIGIT if bundle.manifest.name == "digits" and os.path.exists(DIGIT) else "IMAGE"
    revision = policies.current().revision
    token_line = f"admin token, made for this start: {token}\n" if token else ""
    return (
        f"\nEquipoise serves {bundle.id} under policy revision {revision}.\n{token_line}\n"
        f"  curl -F image=@{image} {url}/predict\n"
        f"  curl -X PUT {url}/config -H 'Authorization: Bearer {token or '…'}' -H 'If-Match: \"{revision}\"' \\\n"
        f'    -d \'{{"deployment_priors": "uniform", "rule": {{"kind": "argmax"}}}}\'\n'
    )
