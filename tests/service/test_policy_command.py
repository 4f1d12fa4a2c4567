"""The policy from a terminal: what it asks of a real service, what it prints, and its exit codes."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from service.policy_client import DIFFERENT, DONE, FORBIDDEN, GUARDED, PENDING, STALE, UNAVAILABLE, UNUSABLE
from service.policy_command import main
from service.policy_text import as_printed, history_lines
from service.preview_text import preview_lines
from tests.service.conftest import ARGMAX, PRIORS, ROOT, TOKEN, Server, free_port, put

RECALL = PRIORS | {
    "rule": {"kind": "recall", "targets": {"red": 0.6}, "confidence": 0.95, "priority": None, "covers": "flag"}
}
BOTH = {"kind": "recall", "targets": {"red": 0.4, "green": 0.4}, "confidence": 0.8, "priority": ["red", "green"],
        "covers": "flag"}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQUIPOISE_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("EQUIPOISE_URL", server.url)
    monkeypatch.setenv("EQUIPOISE_TOKEN", TOKEN)


@pytest.fixture
def revision(client: httpx.Client) -> int:
    """That of the policy PRIORS, in force."""
    return int(put(client, PRIORS).json()["revision"])


@pytest.fixture
def policy(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of a command."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as exited:  # argparse
            code = exited.code
        return code, *capsys.readouterr()

    return run


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", "policy", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60, **options)


def rule_in_force(client: httpx.Client) -> Any:
    return client.get("/config").json()["policy"]["rule"]


def test_a_change_from_the_terminal_and_back(client: httpx.Client, revision: int) -> None:
    done = process("set", "--recall", "red=0.6", "--reason", "größer", "--wait", "3", "--force")
    assert (done.returncode, done.stderr) == (DONE, "")
    now = client.get("/config").json()
    assert (now["policy"], now["revision"]) == (RECALL, revision + 1)
    assert (now["actor"], now["reason"]) == ("admin", "größer")
    assert done.stdout.startswith(f"revision {revision + 1} takes the place of revision {revision}\n")
    assert '  /rule/kind: "priors" → "recall"\n  /rule/targets/red: nothing → 0.6\n' in done.stdout
    assert now["certificates"][0]["statement"] in " ".join(done.stdout.split())

    compared = process("diff")
    assert compared.returncode == DIFFERENT
    assert compared.stdout.startswith(f"--- revision {revision}\n+++ revision {revision + 1}, in force\n@@")
    assert '-    "kind": "priors"\n+    "kind": "recall",' in compared.stdout

    taken_back = process("rollback")
    assert (taken_back.returncode, client.get("/config").json()["policy"]) == (DONE, PRIORS)
    rows = [line.split()[0] for line in process("history", "--limit", "3").stdout.splitlines()]
    assert rows == ["revision", str(revision + 2), str(revision + 1), str(revision), "older"]


def test_what_is_printed_as_json_is_what_the_service_says(
    client: httpx.Client, revision: int, policy: Callable[..., Any]
) -> None:
    code, out, _ = policy("get", "--json")
    assert (code, json.loads(out)) == (DONE, client.get("/config").json())
    code, out, _ = policy("preview", "--abstain-below", "0.5", "--json")
    assert (code, json.loads(out)) == (
        DONE, client.post("/config/preview", json=PRIORS | {"abstain_below": 0.5}).json(),
    )  # fmt: skip
    code, out, _ = policy("set", "--abstain-below", "1e-9", "--json")
    assert (code, json.loads(out)) == (DONE, client.get("/config").json())
    code, out, _ = policy("history", "--json", "--limit", "2", "--before", str(revision + 1))
    asked = client.get(f"/config/history?limit=2&before={revision + 1}").json()
    assert (code, json.loads(out)) == (DONE, asked)
    code, out, _ = policy("set", "--abstain-below", "1", "--json")
    assert (code, json.loads(out)["type"]) == (GUARDED, "urn:equipoise:problem:guarded-change")


# What the options mean


@pytest.mark.parametrize(
    ("before", "arguments", "after"),
    [
        (PRIORS, ["--abstain-below", "0.1"], PRIORS | {"abstain_below": 0.1}),
        (PRIORS, ["--recall", "red=0.6"], RECALL),
        (PRIORS, ["--recall", "red=0.4", "--recall", "green=0.4", "--confidence", "0.8", "--priority", "red,green"],
         PRIORS | {"rule": BOTH}),
        (PRIORS | {"rule": BOTH}, ["--recall", "red=0.3"],
         PRIORS | {"rule": BOTH | {"targets": {"red": 0.3}, "priority": None}}),
        (PRIORS | {"rule": BOTH}, ["--recall", "green=0.3", "--recall", "red=0.3"],
         PRIORS | {"rule": BOTH | {"targets": {"red": 0.3, "green": 0.3}}}),
        (RECALL, ["--covers", "label"], PRIORS | {"rule": RECALL["rule"] | {"covers": "label"}}),
        (PRIORS, ["--priors", "uniform"], PRIORS | {"deployment_priors": "uniform"}),
    ],
)  # fmt: skip
def test_options_change_what_they_name(
    client: httpx.Client, policy: Callable[..., Any], before: Any, arguments: list[str], after: Any
) -> None:
    assert put(client, before).status_code == 200
    tried = json.loads(policy("preview", *arguments, "--json")[1])
    dry = json.loads(policy("set", *arguments, "--dry-run", "--json")[1])
    assert (tried["policy"], dry) == (after, tried | {"dry_run": True})
    assert client.get("/config").json()["policy"] == before
    assert policy("set", *arguments, "--force")[0] == DONE
    assert client.get("/config").json()["policy"] == after


def test_priors_of_a_file_take_the_place_of_all(
    client: httpx.Client, revision: int, policy: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "priors.json"
    for priors in ({"red": 0.5, "green": 0.3, "blue": 0.2}, {"red": 0.2, "green": 0.3, "blue": 0.5}):
        file.write_text(json.dumps(priors))
        assert policy("set", "--priors", str(file), "--force")[0] == DONE
        assert client.get("/config").json()["policy"]["deployment_priors"] == priors
    file.write_text('{"red": 0.5, "green": 0.5}')
    code, _, said = policy("set", "--priors", str(file), "--force")
    assert code == UNUSABLE, "blue is not what it was before: it is missing"
    assert "/deployment_priors" in said


def test_a_file_is_the_whole_policy(
    client: httpx.Client, revision: int, policy: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, PRIORS | {"abstain_below": 0.2})
    file = tmp_path / "policy.json"
    file.write_text('{"rule": {"kind": "argmax"}}')
    code, out, _ = policy("diff", str(file))
    assert (code, '-    "kind": "priors"\n+    "kind": "argmax"' in out) == (DIFFERENT, True)
    assert policy("set", str(file), "--force")[0] == DONE
    assert client.get("/config").json()["policy"] == ARGMAX
    assert policy("diff", str(file)) == (DONE, "", "")

    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(json.dumps(RECALL).encode())))
    assert policy("set", "-", "--force")[0] == DONE
    assert client.get("/config").json()["policy"] == RECALL
    file.write_text('{"abstain_below": 0.1, "abstain_below": 0.2}')
    code, _, said = policy("set", str(file))
    assert (code, "'abstain_below' twice" in said) == (UNUSABLE, True)


def test_two_policies_by_number(client: httpx.Client, revision: int, policy: Callable[..., Any]) -> None:
    put(client, ARGMAX)
    put(client, PRIORS)
    assert policy("diff", str(revision), str(revision + 2)) == (DONE, "", "")
    assert policy("diff", str(revision)) == (DONE, "", "")
    code, out, _ = policy("diff", str(revision), str(revision + 1))
    assert (code, out.split("\n")[:2]) == (DIFFERENT, [f"--- revision {revision}", f"+++ revision {revision + 1}"])


def test_a_rollback_goes_where_it_is_told_or_one_back(
    client: httpx.Client, revision: int, policy: Callable[..., Any]
) -> None:
    put(client, ARGMAX)
    put(client, RECALL)
    assert policy("rollback", "--reason", "too many")[0] == DONE
    assert (rule_in_force(client)["kind"], client.get("/config").json()["reason"]) == ("argmax", "too many")
    assert policy("rollback", str(revision))[0] == DONE
    assert rule_in_force(client)["kind"] == "priors"


# Exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["put"], ["get", "--urll", "x"], ["set"], ["preview"], ["set", "nosuch.json"],
        ["set", "--priors", "nosuch"], ["set", "--priors", "uniform", "--window", "1h"],
        ["preview", "--abstain-below", "0", "--window", "24h"],
        ["set", "--recall", "red"], ["set", "--recall", "red=x"], ["set", "--recall", "=0.5"],
        ["set", "-", "--covers", "flag"],
        ["set", "--recall", "red=0.5", "--recall", "red=0.6"], ["set", "--if-match", "0", "--abstain-below", "0"],
        ["set", "--abstain-below", "0", "--wait", "31"], ["set", "--abstain-below", "nan"],
        ["set", "--abstain-below", "2"], ["set", "--recall", "pink=0.5"], ["set", "--recall", "red=0.999"],
        ["set", "--confidence", "0.9"], ["set", "--abstain-below", "0", "--reason", "two\nlines"],
        ["rollback", "1000000"], ["diff", "1000000"], ["diff", "1", "2", "3"], ["diff", "nosuch.json"],
        ["history", "--limit", "101"], ["get", "--url", "localhost:3000"], ["get", "--url", "http://a:b"],
        ["get", "--token-file", "nosuch"], ["get", "--token-file", os.devnull],
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_few_plain_lines(
    client: httpx.Client, revision: int, policy: Callable[..., Any], arguments: list[str]
) -> None:
    code, out, said = policy(*arguments)
    assert (code, out) == (UNUSABLE, "")
    assert said.startswith("error: ")
    assert said.count("\n") <= 2
    assert "Traceback" not in said
    assert client.get("/config").json()["revision"] == revision


def test_a_fault_is_named_by_its_pointer(revision: int, policy: Callable[..., Any]) -> None:
    assert policy("set", "--recall", "red=0.999")[2].startswith(
        "error: Not certifiable:\n  /rule/targets/red: recall 0.999"
    )


def test_the_guard_is_asked_and_can_be_overruled(
    client: httpx.Client, revision: int, policy: Callable[..., Any]
) -> None:
    code, out, said = policy("set", "--abstain-below", "1")
    assert (code, out) == (GUARDED, "")
    assert said.startswith("error: the guard stops this change, unless --force:\n  100.0% ")
    assert said.count("\n") == 2
    assert client.get("/config").json()["revision"] == revision
    assert policy("set", "--abstain-below", "1", "--force")[0] == DONE
    assert policy("rollback")[0] == DONE, "the guard does not stop a rollback"


def test_who_was_first_is_named(client: httpx.Client, revision: int, policy: Callable[..., Any]) -> None:
    put(client, PRIORS, reason="before you")
    code, _, said = policy("set", "--abstain-below", "0.01", "--if-match", str(revision))
    assert code == STALE
    assert said.startswith(f"error: somebody was first: in force is revision {revision + 1}, by admin, 20")
    assert said.endswith("\nreason: before you\n")
    assert policy("rollback", "--if-match", str(revision))[0] == STALE
    assert client.get("/config").json()["revision"] == revision + 1
    assert policy("set", "--abstain-below", "0.01", "--if-match", str(revision + 1))[0] == DONE


def test_tokens_and_a_broken_store(
    start: Callable[..., Server], policy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = start(EQUIPOISE_PREDICT_TOKEN="a reader", workers=1).wait()
    monkeypatch.setenv("EQUIPOISE_URL", server.url)
    monkeypatch.delenv("EQUIPOISE_TOKEN")
    code, _, said = policy("get")
    assert (code, said.split("\n")[1]) == (FORBIDDEN, "EQUIPOISE_TOKEN or --token-file gives one")
    monkeypatch.setenv("EQUIPOISE_ADMIN_TOKEN", "a guess")
    code, _, said = policy("get")
    assert (code, "a guess" in said) == (FORBIDDEN, False)
    file = tmp_path / "token"
    file.write_text("a reader\n")
    assert policy("get", "--token-file", str(file))[0] == DONE
    code, _, said = policy("diff", "--token-file", str(file))
    assert (code, said) == (UNUSABLE, "error: history has no revision before 1\n")
    assert policy("set", "--abstain-below", "0.01", "--token-file", str(file))[0] == FORBIDDEN
    monkeypatch.setenv("EQUIPOISE_ADMIN_TOKEN", TOKEN)
    assert policy("set", "--abstain-below", "0.01")[0] == DONE
    file.write_text("two\nlines")
    assert policy("get", "--token-file", str(file))[0] == UNUSABLE

    for path in server.state.glob("equipoise.db*"):
        path.write_bytes(b"not a database" * 1000)
    code, _, said = policy("set", "--abstain-below", "0.02")
    assert (code, said) == (UNAVAILABLE, "error: the policy store does not answer; predictions go on\n")


@pytest.fixture
def stranger() -> Iterator[str]:
    """The URL of a server that is none of ours: JSON without a policy to whoever reads, and silence to a writer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"detail": "hello"}' if self.path == "/json/config" else b"<html>"
            self.send_response(302 if self.path == "/moved/config" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/json/config")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_does_not_answer_like_the_service(policy: Callable[..., Any], stranger: str) -> None:
    code, _, said = policy("get", "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, said.count("\n"), "does not answer: " in said) == (UNAVAILABLE, 1, True)
    for path in ("", "/json", "/moved"):
        code, _, said = policy("get", "--url", stranger + path)
        assert (code, said.count("\n")) == (UNAVAILABLE, 1)
        assert said.startswith(f"error: expected an Equipoise service at {stranger}{path}, got ")


def test_a_path_that_the_service_lacks_is_bad_usage(server: Server, policy: Callable[..., Any]) -> None:
    code, _, said = policy("get", "--url", f"{server.url}/nosuch")
    assert (code, said.startswith("error: Not Found; ")) == (UNUSABLE, True), said


def test_stored_but_not_everywhere(
    start: Callable[..., Server], postgres: Callable[[str], Any], policy: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url = postgres("pending").get_uri()
    monkeypatch.setenv("EQUIPOISE_URL", start(EQUIPOISE_DATABASE_URL=url, workers=1).wait().url)
    assert policy("set", "--abstain-below", "0.01", "--wait", "5")[0] == DONE
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:  # a host that lives and hears nothing
        connection.exec_driver_sql(
            "INSERT INTO hosts (model, host, revision, seen) VALUES ('tiny', 'deaf', 1, now() + interval '1 hour')"
        )
    engine.dispose()
    code, out, said = policy("set", "--abstain-below", "0.02", "--wait", "1")
    assert (code, said) == (PENDING, "stored, but after 1 s not yet in force on every host\n")
    assert out.startswith("revision 3 takes the place of revision 2\n")
    assert policy("set", "--abstain-below", "0.03")[0] == DONE, "who does not wait is not told"


# What is printed


def test_a_preview_marks_what_differs_for_certain(
    client: httpx.Client, revision: int, policy: Callable[..., Any]
) -> None:
    found = client.post("/config/preview", json=PRIORS | {"abstain_below": 0.6}).json()
    code, out, _ = policy("preview", "--abstain-below", "0.6")
    assert code == DONE
    for name in ("red", "green", "blue"):
        (row,) = re.findall(f"^{name} .*(?:\n .*)?", out, re.MULTILINE)
        recall, precision = found["figures"]["recall"][name], found["figures"]["precision"][name]
        for figure in (recall, precision):
            assert f"{100 * figure['value']:.0f} [{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]" in row
        differs = [found["difference"][figure][name] for figure in ("recall", "precision", "label_share")]
        assert row.count("▲") == sum(change["low"] > 0 for change in differs)
        assert row.count("▼") == sum(change["high"] < 0 for change in differs)
    assert "▼" in out, "recalls fall where a third of the images have no label"
    (row,) = re.findall("^abstention .*", out, re.MULTILINE)
    assert ("▲" in row) == (found["difference"]["abstention"]["low"] > 0)
    assert re.search("^abstention .* ▲ [+]100.0$", policy("preview", "--abstain-below", "1")[1], re.MULTILINE)
    assert "flagged share" not in out, "nothing can be flagged"
    assert max(map(len, out.split("\n"))) <= 100
    share = found["changed"]["value"]
    assert (f"{100 * share:.1f} [" in out, "the guard stops this" in out) == (True, share > 0.2)
    assert f"{100 * found['moves'][0]['share']:5.1f} %  {found['moves'][0]['from']} → none" in out

    same = policy("preview", "--abstain-below", "0")[1]
    assert "the guard has no objection" in same
    assert not re.search("[▲▼] [+-]", same)


def test_a_flag_that_comes_or_goes_is_shown(client: httpx.Client, revision: int, policy: Callable[..., Any]) -> None:
    assert re.search(r"\n .*  was none\n", policy("preview", "--recall", "red=0.6")[1])
    put(client, RECALL)
    share = client.post("/config/preview", json=PRIORS).json()["against"]["flagged_share"]["red"]["value"]
    was = re.compile(rf"\n .*  was {100 * share:.1f}\n")
    assert was.search(process("preview", "-", input=json.dumps(PRIORS)).stdout)
    assert not was.search(process("preview", "-", input=json.dumps(RECALL)).stdout), "it flags what it flagged"


def wide(client: httpx.Client, classes: int = 40) -> Any:
    """A preview as the service gives it, of many classes with long names, one of which changes."""
    found = client.post("/config/preview", json=RECALL).json()
    names = [f"a class with a long name that ends in {k}" for k in range(classes)]
    for part in ("figures", "against", "difference"):
        for figure in ("recall", "precision", "label_share", "flagged_share"):
            value = 0.0 if part == "difference" else 1.0
            found[part][figure] = {name: {"value": value, "low": value, "high": value} for name in names}
    found["difference"]["precision"][names[7]] = {"value": 0.25, "low": 0.1, "high": 0.4}
    return found | {"images": dict.fromkeys(names, 1e6), "deployment_priors": dict.fromkeys(names, 1 / classes)}


def test_many_classes_with_long_names_fit(client: httpx.Client, revision: int) -> None:
    found = wide(client)
    lines = list(preview_lines(found))
    assert max(map(len, lines)) <= 100
    assert sum(bool(re.match(r"a .*…\D*\d+ ", line)) for line in lines) == 40
    flagged = list(found["images"])[3]
    for part in ("figures", "against", "difference"):
        found[part]["flagged_share"] = {flagged: found[part]["flagged_share"][flagged]}
    few = list(preview_lines(found, top=1))
    assert sum(bool(re.match("a .*…", line)) for line in few) == 2
    assert "2 of 40 classes: those that may be flagged, and those that change most" in few
    assert any(line.strip() == "▲ +25.0" for line in few)


def test_answers_are_replayed_where_the_service_can(client: httpx.Client, revision: int) -> None:
    found = client.post("/config/preview", json=ARGMAX).json() | {"answers": None}
    assert not any("answers" in line for line in preview_lines(found))
    found["answers"] = {
        "n": 12000, "changed": {"value": 0.25, "low": 0.2, "high": 0.3},
        "moves": [{"from": "red", "to": None, "count": 3000}],
    }  # fmt: skip
    lines = list(preview_lines(found))
    at = lines.index("of the last 12,000 answers, 25.0 [20.0, 30.0] % would get another label")
    assert lines[at + 1] == "    3,000  red → none"


def test_history_says_who_changed_how_much_and_why(
    client: httpx.Client, revision: int, policy: Callable[..., Any]
) -> None:
    put(client, PRIORS | {"abstain_below": 1.0}, reason="all to a person")
    head, newest, *_ = policy("history")[1].split("\n")
    assert head.split() == ["revision", "time", "actor", "event", "changed", "reason"]
    assert re.fullmatch(rf"{revision + 1} +20\S+ \S+Z  admin +change +100\.0% +all to a person", newest)
    first = client.get("/config/history?limit=1&before=2").json()
    assert re.fullmatch(r"1 +20\S+ \S+Z  system  first +default policy of tiny:\S+", list(history_lines(first))[1])


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command prints to a terminal."""
    master, slave = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    command = [sys.executable, "-m", "service", "policy", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=slave, env=clean | {"TERM": "xterm"} | environment) as running:
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 1 << 16):
                shown += part
        except OSError:  # Linux says so when the other side is closed
            pass
    os.close(master)
    assert running.returncode == DONE
    return shown.decode()


def test_colour_only_on_a_terminal_and_never_alone(revision: int) -> None:
    arguments = ("preview", "--abstain-below", "0.6")
    shown = on_a_terminal(*arguments)
    marked = re.findall(r"\x1b\[\d+m(. [+-][\d.]+)\x1b\[0m", shown)
    assert marked
    assert {mark[0] for mark in marked} <= {"▲", "▼"}
    plain = process(*arguments).stdout
    assert re.sub(r"\x1b\[\d+m", "", shown).replace("\r", "") == plain
    assert "\x1b" not in plain + on_a_terminal(*arguments, NO_COLOR="1")


def test_nothing_that_a_service_says_steers_the_terminal() -> None:
    assert as_printed(["\x1b[2J a\r\n\x9b", "é ▲ +1"], colour=False) == "\\x1b[2J a\\r\\n\\x9b\né ▲ +1"


def test_a_reader_that_leaves_is_no_error(revision: int) -> None:
    command = [sys.executable, "-m", "service", "policy", "get"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == DONE


def test_it_starts_without_what_serves() -> None:
    heavy = "{'bentoml', 'onnxruntime', 'torch', 'fastapi', 'starlette'}"
    code = f"import sys, service.__main__; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True).stdout == "set()\n"
