"""Tokens: what each may do, in force and out of force at once, slow to guess, and never to be read anywhere."""

import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from service.access import MOST_ADDRESSES, MOST_WAITING, OPENABLE, REQUIRED, Slowdown
from service.answers import AnswerStore
from service.database import Database, StoreError
from service.problems import Problem
from service.shared import SharedWord
from service.store import PolicyStore
from service.tables import VERSION
from service.tokens import SCOPES, Scope, TokenError, TokensInForce, TokenStore
from tests.conftest import noise, png
from tests.service.conftest import ROOT, TOKEN, Server, put, scrape, total
from tests.service.test_config import worker_behind

GOOD = png(noise(0))
WRONG = "eqp_00000000_a-guess-that-must-be-nowhere"
PROTECTED = {route: scope for route, scope in REQUIRED.items() if scope is not None}
HEADS = [f"HEAD {path}" for method, path in map(str.split, REQUIRED) if method == "GET"]


@pytest.fixture
def store(database: Database, tmp_path: Path) -> TokenStore:
    return TokenStore.of(database, tmp_path / "shared")


def command(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EQUIPOISE_")}
    return subprocess.run(
        [sys.executable, "-m", "service", "token", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=clean | {"EQUIPOISE_STATE": str(state)} | environment,
    )  # fmt: skip


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(client: httpx.Client, route: str, token: str | None) -> httpx.Response:
    method, path = route.split()
    return client.request(method, path, headers={} if token is None else bearer(token))


# What is kept


def test_a_token_is_shown_once_and_only_its_digest_is_kept(store: TokenStore, url: str) -> None:
    shown, token = store.create("ci", ["predict", "read"])
    head, id_, secret = shown.split("_", 2)
    assert (head, id_, len(secret)) == ("eqp", token.id, 43)
    assert store.all() == [token]
    assert (token.name, token.scopes, token.live) == ("ci", {"predict", "read"}, True)
    assert secret not in str(run_sql(url, "SELECT * FROM tokens"))


def test_no_two_live_tokens_have_one_name(store: TokenStore) -> None:
    _, first = store.create("ci", ["read"])
    with pytest.raises(TokenError, match="a name that no live token has, got 'ci'"):
        store.create("ci", ["predict"])
    assert store.revoke("ci") is not None
    _, second = store.create("ci", ["read"])
    assert store.revoke(first.id) is None, "it is revoked already"
    assert [(token.id, token.live) for token in store.all()] == [(first.id, False), (second.id, True)]
    revoked = store.revoke(second.id)
    assert revoked is not None
    assert not revoked.live
    assert store.revoke("nobody") is None


@pytest.mark.parametrize("name", ["", " ci", "two\nlines", "\x1b[31m", "x" * 101, "admin", "system", "0123abcd"])
def test_a_name_that_could_mislead_is_refused(store: TokenStore, name: str) -> None:
    with pytest.raises(TokenError, match="expected a name"):
        store.create(name, ["read"])
    assert store.all() == []


def test_every_change_moves_the_generation_even_one_that_finds_nothing(store: TokenStore) -> None:
    before = store.generation
    store.create("x" * 100, ["read"])
    store.revoke("x" * 100)
    store.revoke("x" * 100)
    assert store.generation == before + 3


# The database


OPENER = """
import sys
from service.database import Database
for url in sys.stdin:
    database = Database(url.strip())
    database.ensure_schema()
    database.close()
    print("opened", flush=True)
"""


def test_eight_processes_create_one_schema(new_url: Callable[[], str]) -> None:
    with ExitStack() as stack:
        openers = [
            stack.enter_context(subprocess.Popen(
                [sys.executable, "-c", OPENER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ))
            for _ in range(8)
        ]  # fmt: skip
        for url in [new_url() for _ in range(30)]:
            for one in openers:
                assert one.stdin is not None
                one.stdin.write(f"{url}\n")
                one.stdin.flush()
            for one in openers:
                assert one.stdout is not None
                assert one.stdout.readline() == "opened\n"
            assert schema(url) == [(VERSION,)]
        for one in openers:
            assert one.stdin is not None
            one.stdin.close()


def make_tables(url: str) -> None:
    """Its tables are there."""
    database = Database(url)
    database.ensure_schema()
    database.close()


def schema(url: str) -> list[tuple[int]]:
    return [tuple(row) for row in run_sql(url, "SELECT version FROM schema")]


def run_sql(url: str, *statements: str) -> Any:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            for statement in statements:
                done = connection.execute(sa.text(statement))
            return done.all() if done.returns_rows else []
    finally:
        engine.dispose()


BEFORE_SCHEMAS_HAD_NUMBERS = (
    """CREATE TABLE revisions (model VARCHAR NOT NULL, revision INTEGER NOT NULL, time VARCHAR NOT NULL,
       actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, model_version VARCHAR NOT NULL, policy TEXT NOT NULL,
       thresholds TEXT NOT NULL, PRIMARY KEY (model, revision))""",
    """INSERT INTO revisions VALUES ('tiny', 1, '2026-01-01', 'system', 'default', 'v1', '{"a": 1}', '{"red": 0.5}'),
       ('tiny', 2, '2026-01-02', 'admin', 'Größe', 'v1', '{"a": 2}', '{"red": 0.25}')""",
)


def test_an_older_database_is_upgraded_with_its_data(url: str) -> None:
    run_sql(url, *BEFORE_SCHEMAS_HAD_NUMBERS)
    columns = "model, revision, time, actor, reason, model_version, policy, thresholds"
    before = run_sql(url, f"SELECT {columns} FROM revisions ORDER BY revision")
    for _ in range(2):
        database = Database(url)
        last = PolicyStore(database, "tiny").last()
        database.close()
        assert last is not None
        assert (last.revision, last.reason, last.policy, last.thresholds) == (2, "Größe", {"a": 2}, {"red": 0.25})
        assert (last.event, last.certificates, last.preview) == ("change", [], None)
    assert schema(url) == [(VERSION,)]
    assert run_sql(url, f"SELECT {columns} FROM revisions ORDER BY revision") == before


BEFORE_FEEDBACK = (
    """CREATE TABLE schema (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
       database VARCHAR NOT NULL)""",
    "INSERT INTO schema VALUES (1, 3, 'of old')",
    """CREATE TABLE revisions (model VARCHAR NOT NULL, revision INTEGER NOT NULL, time VARCHAR NOT NULL,
       actor VARCHAR NOT NULL, reason VARCHAR NOT NULL, model_version VARCHAR NOT NULL, policy TEXT NOT NULL,
       thresholds TEXT NOT NULL, event VARCHAR NOT NULL, certificates TEXT NOT NULL, preview TEXT NOT NULL,
       PRIMARY KEY (model, revision))""",
    """INSERT INTO revisions VALUES ('tiny', 1, '2026-01-01', 'system', 'default', 'v2', '{"a": 1}', '{"red": 0.5}',
       'first', '[]', 'null')""",
    """CREATE TABLE answers (model VARCHAR NOT NULL, id {bytes} NOT NULL, model_version VARCHAR NOT NULL,
       revision INTEGER NOT NULL, label SMALLINT NOT NULL, probabilities {bytes} NOT NULL, PRIMARY KEY (model, id))""",
    "CREATE INDEX answers_of_version ON answers (model, model_version, id)",
)


def test_answers_of_a_database_without_feedback_go_on_without_flags(url: str) -> None:
    kind, literal = ("BYTEA", r"'\x{}'") if url.startswith("postgresql") else ("BLOB", "x'{}'")
    run_sql(url, *(statement.replace("{bytes}", kind) for statement in BEFORE_FEEDBACK))
    own = UUID("0199f2a0-0000-7000-8000-000000000000")
    values = ", ".join(literal.format(value) for value in (own.hex, "003800340034"))
    run_sql(url, f"INSERT INTO answers (id, probabilities, model, model_version, revision, label) "
                 f"VALUES ({values}, 'tiny', 'v2', 1, 0)")  # fmt: skip
    for _ in range(2):
        database = Database(url)
        assert database.id == "of old", "what a host keeps of it stays of it"
        last = PolicyStore(database, "tiny").last()
        assert last is not None
        assert (last.revision, last.event) == (1, "first")
        found = AnswerStore(database, "tiny", "v2", 3).last(5)
        database.close()
        assert found.ids == (str(own),)
        assert found.probabilities.tolist() == [[0.5, 0.25, 0.25]]
        assert found.flags.tolist() == [[False] * 3]
    assert schema(url) == [(VERSION,)]
    assert run_sql(url, "SELECT flags FROM answers") == [(None,)]
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert {"audits", "draws", "labels", "snapshots"} <= set(sa.inspect(engine).get_table_names())
    engine.dispose()


def test_an_upgrade_that_fails_leaves_nothing_behind(url: str) -> None:
    run_sql(url, *BEFORE_SCHEMAS_HAD_NUMBERS, "CREATE TABLE tokens_live_name (in_the_way INTEGER)")
    with pytest.raises(StoreError, match="tokens_live_name"):
        Database(url).ensure_schema()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert set(sa.inspect(engine).get_table_names()) == {"revisions", "tokens_live_name"}
    engine.dispose()
    run_sql(url, "DROP TABLE tokens_live_name")
    make_tables(url)


def test_a_newer_database_is_refused_by_its_number(url: str) -> None:
    make_tables(url)
    run_sql(url, "UPDATE schema SET version = 7")
    with pytest.raises(StoreError, match=f"^the database has schema 7, this version knows {VERSION}$"):
        Database(url).ensure_schema()
    assert schema(url) == [(7,)]


def test_a_start_on_a_newer_database_is_refused(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    url = f"sqlite:///{tmp_path / 'state' / 'equipoise.db'}"
    make_tables(url)
    run_sql(url, "UPDATE schema SET version = 7")
    server = start()
    assert server.process.wait(60) == 2
    assert f"error: the database has schema 7, this version knows {VERSION}" in server.log


def test_sqlite_commits_are_durable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    database.close()


def test_a_reader_never_waits_for_a_writer_nor_sees_half_of_what_it_writes(database: Database, tmp_path: Path) -> None:
    store = TokenStore.of(database, tmp_path)
    store.create("one", ["read"])
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE tokens SET name = 'other'"))
        assert [token.name for token in store.all()] == ["one"]
    assert [token.name for token in store.all()] == ["other"]


# Which token a request came with


@pytest.fixture
def in_force(store: TokenStore) -> Iterator[TokensInForce]:
    known = TokensInForce(store, "the admin", "a reader")
    yield known
    known.close()


def test_the_tokens_of_the_environment(in_force: TokensInForce) -> None:
    for presented, name, scopes in (
        (b"the admin", "admin", set(SCOPES)),
        (b"a reader", "predict", {"predict", "read"}),
    ):
        token = in_force.find(presented)
        assert token is not None
        assert (token.name, token.scopes, token.live) == (name, scopes, True)


def test_an_environment_without_tokens_accepts_no_empty_one(store: TokenStore) -> None:
    known = TokensInForce(store, "", "")
    assert known.find(b"") is None
    assert known.find(b"eqp_00000000_") is None
    known.close()


@pytest.fixture(scope="module")
def one_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, TokensInForce]]:
    folder = tmp_path_factory.mktemp("one")
    database = Database(f"sqlite:///{folder / 'x.db'}")
    store = TokenStore.of(database, folder)
    shown, _ = store.create("ci", ["read"])
    known = TokensInForce(store, TOKEN, "")
    yield shown.encode(), known
    known.close()
    database.close()


@given(at=st.integers(0, 60), put=st.binary(max_size=3), cut=st.integers(0, 3))
def test_nothing_but_the_token_itself_is_the_token(
    one_token: tuple[bytes, TokensInForce], at: int, put: bytes, cut: int
) -> None:
    right, known = one_token
    presented = right[:at] + put + right[at + cut :]
    assert (known.find(presented) is not None) == (presented == right)


def test_what_is_wrong_takes_as_long_wherever_it_is_wrong(one_token: tuple[bytes, TokensInForce]) -> None:
    """Medians of interleaved measurements; a skipped hash or an early return is 20% and more."""
    right, known = one_token
    kinds = {
        "right": right,
        "wrong at the end": right[:-1] + (b"A" if right[-1:] != b"A" else b"B"),
        "wrong from the start": right[:13] + bytes(c ^ 1 for c in right[13:]),
        "an id that nobody has": b"eqp_" + bytes(c ^ 1 if c != 0x60 else c for c in b"00000000") + right[12:],
    }
    taken: dict[str, list[int]] = {kind: [] for kind in kinds}
    for kind in random.Random(0).choices(list(kinds), k=20_000):
        presented = kinds[kind]
        begun = time.perf_counter_ns()
        known.find(presented)
        taken[kind].append(time.perf_counter_ns() - begun)
    medians = {kind: statistics.median(times) for kind, times in taken.items()}
    print({kind: f"{median:.0f} ns" for kind, median in medians.items()})
    assert max(medians.values()) < 1.15 * min(medians.values()), medians


def test_what_another_host_changes_is_in_force_soon(url: str, tmp_path: Path) -> None:
    here, there = Database(url), Database(url)
    known = TokensInForce(TokenStore.of(here, tmp_path / "here"), "", "")
    other = TokenStore.of(there, tmp_path / "there")
    shown, _ = other.create("ci", ["read"])
    until(lambda: known.find(shown.encode()) is not None)
    other.revoke("ci")
    until(lambda: not getattr(known.find(shown.encode()), "live", True))
    known.close()
    here.close()
    there.close()


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
def test_a_database_that_hangs_is_waited_for_once(store: TokenStore, url: str) -> None:
    shown, _ = store.create("ci", ["read"])
    known = TokensInForce(store, "", "")
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        connection.execute(sa.text("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE"))
        with store._changes.changing() as word:
            word[0] += 1
        assert known.stale
        begun = time.monotonic()
        known.refresh()
        assert 1 < time.monotonic() - begun < 4
        assert not known.stale, "nobody asks again before it answers"
        assert known.find(shown.encode()) is not None
    engine.dispose()
    until(lambda: known._seen == store.generation)
    store.revoke("ci")
    assert known.stale
    known.refresh()
    token = known.find(shown.encode())
    assert token is not None
    assert not token.live
    known.close()


def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Slow to guess


def test_the_delay_doubles_up_to_two_seconds_and_forgets_after_a_minute() -> None:
    now = 1000.0
    slowdown = Slowdown(lambda: now)
    assert [slowdown.failed("10.0.0.1") for _ in range(8)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2])
    assert slowdown.failed("10.0.0.2") == pytest.approx(0.1), "another address has its own count"
    now += 59.9
    assert slowdown.failed("10.0.0.1") == 2
    now += 0.2
    assert slowdown.failed("10.0.0.1") == pytest.approx(0.2), "of the last minute there are two"


def test_an_ipv6_client_has_no_more_than_one_address() -> None:
    slowdown = Slowdown()
    delays = [slowdown.failed(address) for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "")]
    assert delays == pytest.approx([0.1, 0.2, 0.1, 0.1])


def test_failures_cost_bounded_memory() -> None:
    slowdown = Slowdown()
    for n in range(5 * MOST_ADDRESSES):
        slowdown.failed(f"10.0.{n // 256}.{n % 256}")
    assert len(slowdown._failures) == MOST_ADDRESSES
    assert slowdown.failed(f"10.0.{n // 256}.{n % 256}") == pytest.approx(0.2), "the latest are remembered"


def test_no_more_than_so_many_answers_wait_at_once() -> None:
    async def many() -> list[BaseException | None]:
        slowdown = Slowdown()
        done = await asyncio.gather(*(slowdown.hold(f"10.0.0.{n}") for n in range(100)), return_exceptions=True)
        await slowdown.hold("10.0.1.0")  # there is room again
        return done

    turned_away = [error for error in asyncio.run(many()) if error is not None]
    assert len(turned_away) == 100 - MOST_WAITING
    assert all(isinstance(error, Problem) and error.status == 429 for error in turned_away)


# The command line


def test_the_command_line_from_creation_to_revocation(tmp_path: Path) -> None:
    made = command("create", "ci", "--scope", "read", "--scope", "predict", state=tmp_path)
    assert made.returncode == 0
    shown = made.stdout.strip()
    assert made.stdout == f"{shown}\n"
    assert shown.split("_", 2)[2] not in made.stderr
    again = command("create", "ci", "--scope", "read", "--state", str(tmp_path), state=Path("/nowhere"))
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)

    (listed,) = json.loads(command("list", "--json", state=tmp_path).stdout)
    assert (listed["name"], listed["id"], listed["state"]) == ("ci", shown[4:12], "live")
    assert listed["scopes"] == ["predict", "read"]
    assert command("revoke", "ci", state=tmp_path).returncode == 0
    assert command("revoke", "ci", state=tmp_path).returncode == 1
    table = command("list", state=tmp_path).stdout
    assert "ci    " + shown[4:12] + "  predict, read  " in table
    assert "  revoked 20" in table
    for path in tmp_path.iterdir():
        assert shown.split("_", 2)[2].encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {}),
        (["make"], {}),
        (["create", "ci"], {}),
        (["create", "ci", "--scope", "write"], {}),
        (["create", "two\nlines", "--scope", "read"], {}),
        (["revoke"], {}),
        (["list", "--jso"], {}),
        (["list"], {"EQUIPOISE_DATABASE_URL": "nosuch://"}),
        (["list"], {"EQUIPOISE_DATABASE_URL": "postgresql://user:the-password@127.0.0.1:9/x"}),
        (["list"], {"EQUIPOISE_DATABASE_URL": "postgresql://user:the-password@127.0.0.1:port/x"}),
        (["list"], {"EQUIPOISE_DATABASE_URL": "sqlite:////proc/no/x.db"}),
    ],
)
def test_bad_usage_and_an_unreachable_database_are_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    done = command(*arguments, state=tmp_path, **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "the-password" not in done.stderr


# The service


def test_every_route_says_what_it_needs() -> None:
    from service.routes import create_app

    routes = create_app().routes
    served = {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert served == set(REQUIRED)


@pytest.fixture(scope="module")
def closed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tiny_model, tmp_path_factory.mktemp("closed"), EQUIPOISE_PREDICT_TOKEN="a reader").wait()
    yield started
    assert started.stop() == 0, started.log


@pytest.fixture(scope="module")
def issued(closed: Server) -> Iterator[dict[Scope, str]]:
    """A token for each scope."""
    made = {scope: command("create", f"may {scope}", "--scope", scope, state=closed.state) for scope in SCOPES}
    assert {done.returncode for done in made.values()} == {0}
    tokens = {scope: done.stdout.strip() for scope, done in made.items()}
    yield tokens
    for path in closed.state.rglob("*"):  # the database, its write-ahead log, what the service and its workers logged
        for token in (*tokens.values(), TOKEN, "a reader", WRONG):
            assert not path.is_file() or token.split("_", 2)[-1].encode() not in path.read_bytes(), path


@pytest.mark.parametrize("route", [*REQUIRED, *HEADS])
def test_a_route_takes_the_tokens_with_its_scope(closed: Server, issued: dict[Scope, str], route: str) -> None:
    needed = REQUIRED[route.replace("HEAD", "GET")]
    with httpx.Client(base_url=closed.url, timeout=30) as client:
        for scope, token in issued.items():
            answer = ask(client, route, token)
            assert (answer.status_code == 403) == (needed is not None and scope != needed), scope
            assert answer.status_code not in (401, 429, 500, 503)
            assert token not in answer.text
            if answer.status_code == 403 and " /v2/" in route:
                assert route.startswith("HEAD") or f"the scope {needed!r}" in answer.json()["error"]
            elif answer.status_code == 403 and not route.startswith("HEAD"):
                assert answer.json()["type"] == "urn:equipoise:problem:missing-scope"
                assert answer.json()["scope"] == needed
        for token in (TOKEN, "a reader"):
            reader_may = needed in (None, "predict", "read")
            assert (ask(client, route, token).status_code == 403) == (token != TOKEN and not reader_may)
        assert (ask(client, route, None).status_code == 401) == (needed is not None)
        assert (ask(client, route, WRONG).status_code == 403) == (needed is not None)


def test_what_is_open_is_open_to_a_wrong_token_too(server: Server, client: httpx.Client) -> None:
    feedback = command("create", "f", "--scope", "feedback", state=server.state).stdout.strip()
    before = scrape(server.url)
    for route, scope in PROTECTED.items():
        for token in (None, "wrong", feedback):
            turned_away = ask(client, route, token).status_code in (401, 403)
            assert turned_away == (scope not in OPENABLE and (scope, token) != ("feedback", feedback)), (route, token)
    after = scrape(server.url)
    counted = {
        reason: total(after, "equipoise_auth_failures_total", reason=reason)
        - total(before, "equipoise_auth_failures_total", reason=reason)
        for reason in ("missing", "wrong", "revoked", "scope")
    }
    closed = sum(scope not in OPENABLE for scope in PROTECTED.values())
    for_feedback = sum(scope == "feedback" for scope in PROTECTED.values())
    assert counted == {"missing": closed, "wrong": closed, "revoked": 0, "scope": closed - for_feedback}


def test_the_actor_of_a_revision_is_the_name_of_the_token(server: Server, client: httpx.Client) -> None:
    token = command("create", "Zoë, on call", "--scope", "write-policy", state=server.state).stdout.strip()
    etag = client.get("/config").headers["etag"]
    assert client.put("/config", json={}, headers=bearer(token) | {"If-Match": etag}).status_code == 200
    assert client.get("/config").json()["actor"] == "Zoë, on call"
    assert put(client, {}).json()["actor"] == "admin"


def test_a_wrong_token_waits_and_a_right_one_never_does(start: Callable[..., Server]) -> None:
    server = start(EQUIPOISE_PREDICT_TOKEN="a reader", workers=1).wait()
    with httpx.Client(base_url=server.url, timeout=30) as client:

        def seconds(token: str, status: int) -> float:
            begun = time.perf_counter()
            answer = ask(client, "GET /model", token)
            assert answer.status_code == status
            return time.perf_counter() - begun

        waited = [seconds(f"wrong {n}", 403) for n in range(6)]
        for expected, took in zip((0.1, 0.2, 0.4, 0.8, 1.6, 2.0), waited, strict=True):
            assert expected <= took < expected + 1
        right = [seconds("a reader", 200) for _ in range(20)]
        assert statistics.median(right) < 0.05

        with ExitStack() as stack:
            clients = [stack.enter_context(httpx.Client(base_url=server.url, timeout=30)) for _ in range(100)]
            statuses: list[int] = []
            threads = [
                threading.Thread(target=lambda c=c: statuses.append(ask(c, "GET /model", "wrong").status_code))
                for c in clients
            ]
            for thread in threads:
                thread.start()
            until(lambda: bool(statuses))  # all places to wait are taken
            assert statistics.median(seconds("a reader", 200) for _ in range(20)) < 0.5
            for thread in threads:
                thread.join()
    assert set(statuses) == {403, 429}
    assert statuses.count(403) == MOST_WAITING
    assert total(scrape(server.url), "equipoise_auth_failures_total", reason="wrong") == 106


def clients_of(server: Server, stack: ExitStack) -> list[httpx.Client]:
    """An open connection to each worker."""
    found: dict[int, httpx.Client] = {}
    for _ in range(200):
        client = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))
        found.setdefault(worker_behind(server, client), client)
        if len(found) == server.workers:
            return list(found.values())
    raise AssertionError("one worker took 200 connections")


def test_under_load_a_token_is_good_and_revoked_at_once_on_both_workers(start: Callable[..., Server], url: str) -> None:
    server = start(EQUIPOISE_PREDICT_TOKEN="a reader", EQUIPOISE_DATABASE_URL=url).wait()
    made = command("create", "steady", "--scope", "predict", state=server.state, EQUIPOISE_DATABASE_URL=url)
    steady, done, seen = made.stdout.strip(), threading.Event(), list[int]()

    def load() -> None:
        with httpx.Client(base_url=server.url, timeout=30, headers=bearer(steady)) as client:
            while not done.is_set():
                seen.append(client.post("/predict", content=GOOD).status_code)

    database = Database(url)
    store = TokenStore.of(database, server.state)
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with ExitStack() as stack:
            clients = clients_of(server, stack)
            for turn in range(5):
                token, _ = store.create(f"brief {turn}", ["read"])
                for client in clients:
                    assert ask(client, "GET /model", token).status_code == 200
                store.revoke(f"brief {turn}")
                for client in clients:
                    answer = ask(client, "GET /model", token)
                    assert (answer.status_code, answer.json()["title"]) == (403, "Revoked token")
            gone = command("revoke", "steady", state=server.state, EQUIPOISE_DATABASE_URL=url)
            assert gone.returncode == 0, gone.stderr
            for client in clients:
                assert client.post("/predict", content=GOOD, headers=bearer(steady)).status_code == 403
    finally:
        done.set()
        for thread in threads:
            thread.join()
        database.close()
    assert set(seen) == {200, 403}
    assert seen.index(403) > 50
    assert 200 not in seen[seen.index(403) + len(threads) :]
    assert total(scrape(server.url), "equipoise_auth_failures_total", reason="revoked") >= 12


def test_with_the_database_down_the_last_known_tokens_go_on(
    start: Callable[..., Server], postgres: Callable[[str], Any]
) -> None:
    postgresql = postgres("down")
    url = postgresql.get_uri()
    server = start(EQUIPOISE_PREDICT_TOKEN="a reader", EQUIPOISE_DATABASE_URL=url).wait()
    token = command("create", "ci", "--scope", "read", state=server.state, EQUIPOISE_DATABASE_URL=url).stdout.strip()
    with ExitStack() as stack:
        clients = clients_of(server, stack)
        for client in clients:
            assert ask(client, "GET /model", token).status_code == 200
        postgresql.stop()
        with SharedWord(server.state / "tokens.generation").changing() as word:
            word[0] += 1  # a change that nobody can read
        begun = time.monotonic()
        for _ in range(50):
            for client in clients:
                assert ask(client, "GET /model", token).status_code == 200
        assert time.monotonic() - begun < 10
        assert ask(clients[0], "GET /model", "wrong").status_code == 403
        refused = command("revoke", "ci", state=server.state, EQUIPOISE_DATABASE_URL=url)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        postgresql.ensure_postgres_running()
        assert command("revoke", "ci", state=server.state, EQUIPOISE_DATABASE_URL=url).returncode == 0
        time.sleep(1.5)  # the database is asked again once a second
        for client in clients:
            assert ask(client, "GET /model", token).status_code == 403
    assert server.log.count("the last known tokens go on") == 2, "once a worker"
    assert "Traceback" not in server.log


MADE = "  TOKEN="  # how the start says the admin token it made


def test_no_admin_token_is_made_where_a_live_one_may_write(start: Callable[..., Server], tmp_path: Path) -> None:
    state = tmp_path / "state"
    command("create", "reads", "--scope", "read", state=state)
    first = start(EQUIPOISE_ADMIN_TOKEN="", workers=1).wait()
    made = first.log.split(MADE)[1].split()[0]
    with httpx.Client(base_url=first.url) as client:
        assert ask(client, "PUT /config", made).status_code == 428
    first.stop()

    writer = command("create", "writes", "--scope", "write-policy", state=state).stdout.strip()
    second = start(EQUIPOISE_ADMIN_TOKEN="", workers=1).wait()
    assert MADE not in second.log
    with httpx.Client(base_url=second.url) as client:
        assert ask(client, "PUT /config", writer).status_code == 428
        assert ask(client, "PUT /config", made).status_code == 403
        assert client.put("/config", headers={"Authorization": "Bearer"}).status_code == 401
    second.stop()

    command("revoke", "writes", state=state)
    assert MADE in start(EQUIPOISE_ADMIN_TOKEN="", workers=1).wait().log


def test_a_database_of_todays_tables_goes_on_counting(start: Callable[..., Server]) -> None:
    first = start(workers=1).wait()
    first.stop()
    with sqlite3.connect(first.state / "equipoise.db") as connection:
        for table in ("schema", "tokens", "hosts", "answers", "audits", "draws", "labels", "snapshots"):
            connection.execute(f"DROP TABLE {table}")
        for column in ("event", "certificates", "preview"):
            connection.execute(f"ALTER TABLE revisions DROP COLUMN {column}")
    connection.close()
    again = start(workers=1).wait()
    with httpx.Client(base_url=again.url) as client:
        assert put(client, {}).json()["revision"] == 2
