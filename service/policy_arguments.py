"""What can be asked of `python -m service policy`, and the document or the change that is meant."""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from decision.certificates import Covers
from service.limits import LARGEST_REVISION, LONGEST_WAIT, MOST_LISTED
from service.policy_client import UNUSABLE, Refused
from service.policy_estimate import DAY, ESTIMATED

HERE = "http://127.0.0.1:3000"
EPILOG = """\
The token is that of EQUIPOISE_TOKEN or EQUIPOISE_ADMIN_TOKEN, or in --token-file.

exit codes:
  0  done
  1  the policies differ (diff)
  2  bad usage, or a policy that cannot be (422, other 4xx)
  3  stopped by the guard (409), or a dry run that it would stop; --force does it all the same
  4  somebody was first (412)
  5  no token, or not one that may (401, 403)
  6  the service does not answer, or cannot now (429, 5xx)
  7  stored, but not in force on every host within --wait (202)
130  interrupted
"""


def parser() -> argparse.ArgumentParser:
    """Of a whole command line; `command` is its first word."""
    shape: dict[str, Any] = {
        "epilog": EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False,
    }  # fmt: skip
    about = "The policy of a running service: read it, try another, change it, take a change back."
    made = _Parser("python -m service policy", description=textwrap.fill(about, 79), **shape)
    commands = made.add_subparsers(dest="command", required=True, metavar="get|set|preview|diff|history|rollback")

    def command(name: str, does: str) -> Callable[..., Any]:
        own = commands.add_parser(name, help=does, description=textwrap.fill(does, 79), **shape)
        own.add_argument("--url", default=os.environ.get("EQUIPOISE_URL") or HERE,
                         help=f"the service (default: EQUIPOISE_URL, or {HERE})")  # fmt: skip
        own.add_argument("--token-file", type=Path, metavar="FILE", help="a file that holds the token")
        if name != "diff":
            own.add_argument("--json", action="store_true", help="print what the service says, as it says it")
        return own.add_argument

    command("get", "Show the policy in force.")
    add = command("set", "Put another policy in force: that of a file, or the one in force with what options change.")
    _document_options(add)
    _change_options(add)
    add("--force", action="store_true", help="do what the guard would stop")
    add("--yes", action="store_true", help="take estimated priors; without, they are shown as --dry-run does")
    add("--dry-run", action="store_true", help="show what it would do, as preview does; change nothing")
    add = command("preview", "Show what a policy would do, beside the one in force; change nothing.")
    _document_options(add)
    add("--top", type=_from_1, metavar="N", help="only the N classes that change most")
    add = command("diff", "Compare two policies as diff does: A with B; a revision A with the one in force; the one in "
                  "force with a file A; without any, the one before with the one in force.")  # fmt: skip
    add("policies", nargs="*", metavar="A B", help="a revision's number, a file, or - for stdin")
    add = command("history", "Show the revisions, newest first.")
    add("--limit", type=_from_1, default=20, metavar="N", help=f"how many, {MOST_LISTED} at most (default: 20)")
    add("--before", type=_from_1, metavar="REVISION", help="only those before")
    add = command("rollback", "Put an earlier policy in force again. The guard does not stop it.")
    add("revision", type=_from_1, nargs="?", metavar="REVISION", help="default: the one before that in force")
    _change_options(add)
    return made


def wanted(given: argparse.Namespace, policy: dict[str, Any]) -> tuple[Literal["PUT", "PATCH"], bytes]:
    """How to ask for what is wanted, and as JSON a whole document to PUT, or what to PATCH `policy` with (RFC 7396)."""
    patch: dict[str, Any] = {}
    rule = {name: value for name in ("confidence", "covers", "priority") if (value := getattr(given, name)) is not None}
    if given.recall:
        rule = _recall(dict(given.recall), policy["rule"]) | rule
    if rule:
        patch["rule"] = rule
    if given.priors is not None:
        patch["deployment_priors"] = _exactly(given.priors, policy["deployment_priors"])
    if given.abstain_below is not None:
        patch["abstain_below"] = given.abstain_below
    if (given.file is None) == (not patch):
        came = "both" if patch else "neither"
        raise Refused(UNUSABLE, f"expected a FILE with a policy, or options that change the one in force, got {came}")
    if len(dict(given.recall)) < len(given.recall):
        raise Refused(UNUSABLE, "expected one --recall for each class")
    return ("PATCH", json.dumps(patch).encode()) if given.file is None else ("PUT", read(given.file))


def read(name: str) -> bytes:
    """A file, or stdin for `-`."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Refused(UNUSABLE, f"{name}: {error.strerror}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line; --help has the rest."""
        self.exit(UNUSABLE, f"error: {message}; {self.prog} --help says more\n")


def _document_options(add: Callable[..., Any]) -> None:
    add("file", nargs="?", metavar="FILE", help="a whole policy as JSON, - for stdin; what it leaves out is default")
    add("--recall", action="append", default=[], type=_target, metavar="CLASS=RECALL",
        help="the rule recall with exactly these targets, as crack=0.95; may be repeated; an image that flags "
        "none of them gets the most probable of the other classes, rare or not")  # fmt: skip
    add("--confidence", type=float, metavar="P", help="that all certificates hold together")
    add("--covers", choices=get_args(Covers), help="certify that a class is flagged, or that it is the label")
    add("--priority", type=lambda text: text.split(","), metavar="A,B", help="which of several flagged is the label")
    add("--priors", type=_priors, help="calibration, uniform, a JSON file with one for each class, or estimated: from "
        "the answers of --window, as a proposal that --yes accepts")  # fmt: skip
    add("--window", metavar="TIME", help=f"of the answers that --priors {ESTIMATED} estimates from (default: {DAY})")
    add("--abstain-below", type=float, metavar="P", help="give no label where the largest probability is below")


def _change_options(add: Callable[..., Any]) -> None:
    add("--reason", help="kept in history")
    add("--if-match", type=_from_1, metavar="REVISION",
        help="change nothing unless this one is in force (default: the one that the command reads first)")  # fmt: skip
    add("--wait", type=partial(_from_1, most=LONGEST_WAIT), metavar="SECONDS",
        help=f"until it is in force on every host, {LONGEST_WAIT} at most")  # fmt: skip


def _recall(targets: dict[str, float], rule: dict[str, Any]) -> dict[str, Any]:
    """The patch of a rule to these targets; an order of priority goes with the classes that it was for."""
    before = rule.get("targets", {})
    patch = {"kind": "recall", "targets": _exactly(targets, before)}
    return patch if targets.keys() == before.keys() else patch | {"priority": None}


def _exactly(new: Any, old: Any) -> Any:
    """A merge patch that leaves nothing of `old`."""
    return dict.fromkeys(old) | new if isinstance(new, dict) and isinstance(old, dict) else new


def _from_1(text: str, most: int = LARGEST_REVISION) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {most}, got {text!r}")
    return int(text)


def _target(text: str) -> tuple[str, float]:
    """`crack=0.95`: a class and its recall."""
    name, _, recall = text.rpartition("=")
    try:
        return name, float(recall if name else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a class and its recall like crack=0.95, got {text!r}") from None


def _priors(text: str) -> Any:
    if text in ("calibration", "uniform", ESTIMATED):
        return text
    expected = "expected calibration, uniform, estimated or a JSON file with a prior for each class"
    try:
        found = json.loads(read(text))
    except (Refused, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{expected}, got {text!r}: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{expected}, got {text!r}, which holds no object")
    return found
