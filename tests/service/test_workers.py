"""The arbiter, which BentoML brings: a worker that dies is replaced at once, in a container and as process 1 too."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.service.conftest import ROOT, Server, free_port, until

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]


@pytest.mark.parametrize("container", ["", "true"])
def test_a_dead_worker_is_replaced(start: Callable[..., Server], container: str) -> None:
    server = start(**{"BENTOML_CONTAINERIZED": container} if container else {}).wait()
    for how in (signal.SIGKILL, signal.SIGTERM):
        before = server.worker_pids()
        killed = min(before)
        os.kill(killed, how)
        until(lambda: len(server.worker_pids() - before) == 1, 5)  # noqa: B023 - called before the loop goes on
        until(lambda: not psutil.pid_exists(killed))  # noqa: B023 - as above
        assert f"worker {killed} died (" in server.log
        server.workers += 1
        server.wait()
    assert server.log.count(" died (") == 2
    assert "(SIGKILL) and is replaced" in server.log
    assert server.stop() == 0
    assert server.log.count(" died (") == 2, "those that end with the service do not die"
    assert "Traceback" not in server.log


def test_all_workers_dead_at_once_are_replaced(start: Callable[..., Server]) -> None:
    server = start(BENTOML_CONTAINERIZED="true").wait()
    before = server.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(server.worker_pids() - before) == 2)
    server.workers = 4
    server.wait()


def test_asked_to_end_while_it_replaces_a_worker_it_ends(start: Callable[..., Server]) -> None:
    server = start().wait()
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.6)
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_as_process_1_it_reaps_and_ends(tiny_model: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("a PID namespace of its own is not permitted here")
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "service", "--model", str(tiny_model), "--port", str(port)]
    environment = os.environ | {"EQUIPOISE_STATE": str(tmp_path), "BENTOML_CONTAINERIZED": "true"}
    with log.open("w") as out:
        outer = subprocess.Popen([*NAMESPACE, *command], cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        until(lambda: log.read_text().count("Completed startup hook") == 1, 60)
        (first,) = psutil.Process(outer.pid).children()
        (worker,) = first.children()
        worker.kill()
        until(lambda: log.read_text().count("Completed startup hook") == 2, 30)
        (another,) = first.children()
        assert another.pid != worker.pid, "and no zombie beside it"
        first.send_signal(signal.SIGTERM)
        assert outer.wait(30) == 0
        assert "Traceback" not in log.read_text()
    finally:
        outer.kill()
        outer.wait()
