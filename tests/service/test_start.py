"""What keeps the service from starting is said in one line, with exit code 2, before any worker starts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decision import save_bundle
from service.settings import Settings, SettingsError
from tests.conftest import holdout, manifest
from tests.service.conftest import ROOT, Server


def refused(server: Server, says: str) -> None:
    assert server.process.wait(60) == 2, server.log
    assert says in server.log
    assert "Traceback" not in server.log
    assert "entry_service" not in server.log, "no worker was started"


def test_a_damaged_bundle(start: Callable[..., Server], write_bundle: Callable[..., Path]) -> None:
    folder = write_bundle()
    (folder / "network.onnx").write_bytes(b"onnx?")
    refused(start(model=folder), "network.onnx: expected sha256")


def test_no_bundle(start: Callable[..., Server], tmp_path: Path) -> None:
    refused(start(model=tmp_path / "nothing"), "bundle.json: expected a readable file")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("EQUIPOISE_DEVICE", "tpu", "EQUIPOISE_DEVICE: expected one of auto, cpu, cuda, got 'tpu'"),
        ("EQUIPOISE_MAX_BYTES", "ten", "EQUIPOISE_MAX_BYTES: expected a whole number from 1 to"),
        ("EQUIPOISE_MAX_PIXELS", "200000000", "EQUIPOISE_MAX_PIXELS: expected a whole number from 1 to 178000000"),
        ("EQUIPOISE_DATABASE_URL", "nosuch://", "the database cannot be opened"),
    ],
)
def test_a_setting_that_cannot_be_used(start: Callable[..., Server], name: str, value: str, says: str) -> None:
    refused(start(**{name: value}), says)


def test_cuda_refuses_to_fall_back_to_the_cpu(start: Callable[..., Server]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime may have a GPU")
    refused(start(EQUIPOISE_DEVICE="cuda"), "EQUIPOISE_DEVICE=cuda: expected CUDAExecutionProvider")


def test_a_token_is_made_where_none_is_set_and_printed_once(start: Callable[..., Server]) -> None:
    import httpx

    server = start(EQUIPOISE_ADMIN_TOKEN="").wait()
    made = server.log.split("TOKEN=")[1].split()[0]
    assert server.log.count(made) == 1
    headers = {"Authorization": f"Bearer {made}", "If-Match": '"1"'}
    for revision in (2, 3, 4, 5):  # a connection each: every worker knows it
        answer = httpx.put(f"{server.url}/config", json={}, headers=headers)
        assert answer.json()["revision"] == revision
        headers["If-Match"] = answer.headers["etag"]


def test_a_given_token_is_never_printed(server: Server) -> None:
    assert "test-admin-token" not in server.log
    assert "execution provider: CPUExecutionProvider (EQUIPOISE_DEVICE=auto)" in server.log


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = Settings.from_environment({"EQUIPOISE_MODEL": "models/digits"})
    assert settings.max_bytes == 10 * 1024 * 1024
    assert settings.max_pixels == 50_000_000
    assert settings.device == "auto"
    assert settings.state == Path("state").absolute()


def test_without_a_model_the_only_one_is_served(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("service.settings.__file__", str(tmp_path / "elsewhere" / "service" / "settings.py"))
    with pytest.raises(SettingsError, match="found none in models/"):
        Settings.from_environment({})
    for name in ("one", "two"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "latest").write_text("v")
        if name == "one":
            assert Settings.from_environment({}).model == tmp_path / "models" / "one"
    with pytest.raises(SettingsError, match="found models/one, models/two.*: --model models/one"):
        Settings.from_environment({})


def test_a_network_that_onnxruntime_cannot_run(start: Callable[..., Server], tmp_path: Path) -> None:
    model = save_bundle(tmp_path, manifest(), network=b"no network", holdout=holdout(), report="")
    refused(start(model=model), "network.onnx: onnxruntime cannot run this network")


def test_a_port_in_use(server: Server) -> None:
    command = [sys.executable, "-m", "service", "--model", str(ROOT), "--port", str(server.port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"error: cannot listen on 127.0.0.1 port {server.port}" in done.stderr
