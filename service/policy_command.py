"""python -m service policy: read, try, change and take back the policy of a running service."""

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from decision import PolicyError, parse_policy
from service.merge_patch import patched
from service.policy_arguments import parser, read, wanted
from service.policy_client import DIFFERENT, DONE, GUARDED, PENDING, UNUSABLE, ConfigClient, Refused
from service.policy_estimate import DAY, ESTIMATED, Proposal, estimated_priors
from service.policy_text import as_printed, changed_lines, document_text, history_lines, in_force_lines
from service.preview_text import preview_lines

INTERRUPTED = 130  # as a shell has it


def main(arguments: Sequence[str]) -> int:
    """Do one command; its exit code, as --help lists them."""
    given = parser().parse_args(arguments)
    try:
        with ConfigClient(given.url, _token(given.token_file)) as client:
            code = _COMMANDS[given.command](client, given)
        sys.stdout.flush()
        return code
    except Refused as refused:
        first, *more = str(refused).split("\n")
        _print([f"error: {first}", *more], to=sys.stderr)
        if refused.problem and getattr(given, "json", False):
            print(json.dumps(refused.problem, indent=2))
        return refused.code
    except BrokenPipeError:  # as of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED


def _get(client: ConfigClient, given: argparse.Namespace) -> int:
    found = client.in_force()
    return _show(given, found, in_force_lines(found))


def _set(client: ConfigClient, given: argparse.Namespace) -> int:
    before = client.in_force()
    proposal = _estimate(client, given, force=given.force)
    if proposal and not given.yes:
        code = _previewed(client, given, before["policy"])
        _print(["", "a proposal: nothing is changed without --yes"])
        return code
    if proposal and given.reason is None:
        given.reason = proposal.reason
    method, document = wanted(given, before["policy"])
    switches = {name: "true" for name in ("force", "dry_run") if getattr(given, name)}
    return _change(client, given, before, method, "/config", document, **switches)


def _preview(client: ConfigClient, given: argparse.Namespace) -> int:
    in_force = client.in_force()["policy"]
    _estimate(client, given, force=True)
    return _previewed(client, given, in_force, given.top)


def _previewed(
    client: ConfigClient, given: argparse.Namespace, in_force: dict[str, Any], top: int | None = None
) -> int:  # fmt: skip
    method, document = wanted(given, in_force)
    if method == "PATCH":
        document = json.dumps(patched(in_force, json.loads(document))).encode()
    found = client.preview(document)
    return _show(given, found, preview_lines(found, top))


def _diff(client: ConfigClient, given: argparse.Namespace) -> int:
    if len(given.policies) > 2:
        raise Refused(UNUSABLE, f"expected at most two policies, got {len(given.policies)}")
    named = [_named(client, text) for text in given.policies]
    if len(named) < 2:
        now = client.in_force()
        in_force = f"revision {now['revision']}, in force", now["policy"]
        if not named:
            last = client.before(now["revision"])
            named = [(f"revision {last['revision']}", last["policy"])]
        a_file = bool(given.policies) and not given.policies[0].isdecimal()
        named = [in_force, named[0]] if a_file else [named[0], in_force]
    (a, old), (b, new) = named
    before, after = (document_text(policy).split("\n") for policy in (old, new))
    lines = list(difflib.unified_diff(before, after, a, b, lineterm=""))
    _print(lines)
    return DIFFERENT if lines else DONE


def _history(client: ConfigClient, given: argparse.Namespace) -> int:
    found = client.history(given.limit, given.before)
    return _show(given, found, history_lines(found))


def _rollback(client: ConfigClient, given: argparse.Namespace) -> int:
    before = client.in_force()
    number = given.revision or client.before(before["revision"])["revision"]
    return _change(client, given, before, "POST", "/config/rollback", json.dumps({"revision": number}).encode())


_COMMANDS: Mapping[str, Callable[[ConfigClient, argparse.Namespace], int]] = {
    "get": _get, "set": _set, "preview": _preview, "diff": _diff, "history": _history, "rollback": _rollback,
}  # fmt: skip


def _change(
    client: ConfigClient, given: argparse.Namespace, before: dict[str, Any], method: str, path: str, document: bytes,
    **params: str,
) -> int:  # fmt: skip
    if given.reason is not None:
        params["reason"] = given.reason
    expected = given.if_match or before["revision"]
    everywhere, after = client.change(method, path, document, expected, wait=given.wait, **params)
    if "dry_run" in params:
        _show(given, after, preview_lines(after))
        return GUARDED if after["objections"] and "force" not in params else DONE
    _show(given, after, changed_lines(before, after))
    if not everywhere:
        _print([f"stored, but after {given.wait} s not yet in force on every host"], to=sys.stderr)
    return DONE if everywhere else PENDING


def _estimate(client: ConfigClient, given: argparse.Namespace, *, force: bool) -> Proposal | None:
    """Put estimated priors where `--priors estimated` asks for them, and show them; None where it does not."""
    if given.priors != ESTIMATED:
        if given.window is not None:
            raise Refused(UNUSABLE, f"expected --window with --priors {ESTIMATED}: nothing else looks at answers")
        return None
    found = estimated_priors(client, given.window or DAY, force=force)
    given.priors = found.priors
    _print(found.lines, to=sys.stderr if given.json else None)
    return found


def _named(client: ConfigClient, text: str) -> tuple[str, Any]:
    """The title and the document of a revision or a file; of a file with the defaults of what it leaves out."""
    if text.isdecimal():
        return f"revision {text}", client.revision(int(text))["policy"]
    try:
        return text, parse_policy(json.loads(read(text))).model_dump(mode="json")
    except PolicyError as error:
        raise Refused(UNUSABLE, f"{text}:", *(f"  {fault}" for fault in error.faults)) from None
    except (ValueError, RecursionError) as error:
        raise Refused(UNUSABLE, f"{text}: expected a policy as JSON, got {error}") from None


def _show(given: argparse.Namespace, found: dict[str, Any], lines: Iterable[str]) -> int:
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        _print(lines)
    return DONE


def _print(lines: Iterable[str], to: Any = None) -> None:
    to = to or sys.stdout
    colour = to.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if text := as_printed(lines, colour=colour):
        print(text, file=to)


def _token(file: Path | None) -> str:
    given = os.environ.get("EQUIPOISE_TOKEN") or os.environ.get("EQUIPOISE_ADMIN_TOKEN") or ""
    token = (given if file is None else read(str(file)).decode(errors="replace")).strip()
    if not token.isprintable() or (file is not None and not token):
        raise Refused(UNUSABLE, f"expected a token, one line, in {file or 'EQUIPOISE_TOKEN'}")
    return token
