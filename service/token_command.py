"""python -m service token: make, list and revoke tokens, on the state of the service that is to know them."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from service.database import Database, StoreError
from service.settings import database_of, state_of
from service.tokens import SCOPES, Token, TokenError, TokenStore

NONE_SUCH, UNUSABLE = 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line; --help has the rest."""
        self.exit(UNUSABLE, f"error: {message}; {self.prog} --help says more\n")


def main(arguments: Sequence[str]) -> int:
    """Do one command; its exit code: 1 where there is no such token, 2 on bad usage or without a database."""
    given = _parser().parse_args(arguments)
    if given.state is not None:
        os.environ["EQUIPOISE_STATE"] = str(given.state)
    command: Callable[[TokenStore, argparse.Namespace], int] = given.run
    try:
        database = Database(database_of())
        try:
            return command(TokenStore.of(database, state_of()), given)
        finally:
            database.close()
    except (TokenError, StoreError, OSError) as error:
        _say(f"error: {error}")
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("python -m service token", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="create|list|revoke")

    def add(name: str, run: Callable[[TokenStore, argparse.Namespace], int], does: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=does, description=does, allow_abbrev=False)
        made.add_argument("--state", type=Path, help="the service's state folder (default: EQUIPOISE_STATE, or state)")
        made.set_defaults(run=run)
        return made

    create = add("create", _create, "Make a token and print it, this once.")
    create.add_argument("name", help="the actor of what is done with it, as in the policy's history")
    create.add_argument(
        "--scope", action="append", choices=SCOPES, required=True, help="what it may do; again for more"
    )
    listing = add("list", _list, "Show all tokens, without their secrets.")
    listing.add_argument("--json", action="store_true", help="as JSON")
    revoke = add("revoke", _revoke, "End a token: it is refused from the next request on.")
    revoke.add_argument("token", metavar="NAME|ID", help="the live token of this name or id")
    return parser


def _create(tokens: TokenStore, given: argparse.Namespace) -> int:
    shown_once, token = tokens.create(given.name, given.scope)
    _say(f"token {token.name!r}, id {token.id}, may {_scopes(token)}; it cannot be shown again")
    print(shown_once)
    return 0


def _list(tokens: TokenStore, given: argparse.Namespace) -> int:
    found = tokens.all()
    if given.json:
        print(json.dumps([_document(token) for token in found], indent=2))
        return 0
    rows = [("NAME", "ID", "SCOPES", "CREATED", "STATE")]
    rows += [(token.name, token.id, _scopes(token), token.created, _state(token)) for token in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _revoke(tokens: TokenStore, given: argparse.Namespace) -> int:
    token = tokens.revoke(given.token)
    if token is None:
        _say(f"error: no live token has the name or id {given.token!r}; token list shows all")
        return NONE_SUCH
    _say(f"token {token.name!r}, id {token.id}, is revoked")
    return 0


def _document(token: Token) -> dict[str, Any]:
    return vars(token) | {"scopes": sorted(token.scopes, key=SCOPES.index), "state": _state(token).split()[0]}


def _scopes(token: Token) -> str:
    return ", ".join(sorted(token.scopes, key=SCOPES.index))


def _state(token: Token) -> str:
    return "live" if token.revoked is None else f"revoked {token.revoked}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
