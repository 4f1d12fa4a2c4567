"""python -m service: serve a bundle; `token` and `policy` manage a service's tokens and its policy."""

import argparse
import gc
import ipaddress
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from service.settings import SettingsError, drain_of, state_of
from service.start import EXIT_UNUSABLE, ROOT, URL, preparing


def main(arguments: list[str] | None = None) -> NoReturn:
    """Become `bentoml serve`: the same process, its exit code, its signals. Or do what the first word names."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["token"]:
        from service import token_command

        raise SystemExit(token_command.main(arguments[1:]))
    if arguments[:1] == ["policy"]:
        from service import policy_command

        raise SystemExit(policy_command.main(arguments[1:]))
    for asked in (signal.SIGTERM, signal.SIGINT):  # before BentoML listens: as process 1 it would not be heard
        signal.signal(asked, _end)
    _serve(arguments)


def _serve(arguments: Sequence[str]) -> NoReturn:
    parser = argparse.ArgumentParser(
        "python -m service", description="Serve a bundle over HTTP.", allow_abbrev=False,
        epilog="python -m service token --help: tokens for those who use it; "
        "python -m service policy --help: the policy of a service that runs",
    )  # fmt: skip
    parser.add_argument(
        "--model", type=Path, help="bundle, or folder of a model's bundles (default: the one in models/)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default: 3000)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error(f"expected --workers of at least 1, got {given.workers}")
    if not 0 < given.port < 65536:
        parser.error(f"expected a --port from 1 to 65535, got {given.port}")
    if given.model is not None:
        os.environ["EQUIPOISE_MODEL"] = str(given.model)
    try:
        host, drain = _address(given.host), drain_of()
        home = Path(os.environ.get("BENTOML_HOME") or state_of() / f"bentoml-{given.port}").absolute()
        home.mkdir(parents=True, exist_ok=True)
        _require_free(host, given.port)
    except (SettingsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_UNUSABLE) from None

    address = ipaddress.ip_address(host)
    shown = "127.0.0.1" if address.is_unspecified else f"[{host}]" if address.version == 6 else host
    os.environ |= {
        URL: f"http://{shown}:{given.port}",
        "EQUIPOISE_WORKERS": str(given.workers),
        "BENTOML_CONFIG_OVERRIDES": json.dumps({"services": {"equipoise": {"workers": given.workers}}}),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(home),  # one a server: two that share it wipe each other's metrics
    }
    preparing()
    gc.disable()  # until BentoML is loaded, of which nothing is garbage; `prepare` enables it
    from service.arbiter import attend  # BentoML reads the environment when it is imported

    attend(drain)
    sys.argv = ["bentoml", "serve", "service.service:Equipoise", "--working-dir", str(ROOT)]
    sys.argv += ["--host", host, "--port", str(given.port)]
    runpy.run_module("bentoml", run_name="__main__")
    raise SystemExit(0)


def _end(*_: object) -> NoReturn:
    """Asked to end before there is anything to end."""
    raise SystemExit(0)


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"cannot listen on {host} port {port}: {error.strerror}; --port takes another") from None


def _address(host: str) -> str:
    """BentoML takes addresses only."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise OSError(
            f"--host: expected an address or a name of this machine, got {host!r}: {error.strerror}"
        ) from None


if __name__ == "__main__":
    main()
