"""The image that the Dockerfile describes, built and run with buildah, and the bento that `bentoml build` makes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.conftest import png
from tests.service.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent
BASE, IMAGE = "localhost/equipoise-test-base", "localhost/equipoise-test"
RED = png(np.full((4, 6, 3), [255, 0, 0], dtype=np.uint8))

needs_buildah = pytest.mark.skipif(
    not (shutil.which("buildah") and shutil.which("debootstrap") and os.geteuid() == 0),
    reason="needs buildah and debootstrap, as root",
)


def buildah(*arguments: str) -> str:
    environment = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(["buildah", *arguments], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@contextmanager
def served(command: list[str], port: int, **options: object) -> Iterator[str]:
    """A process group that serves until the end of the block."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it does not answer"
            try:
                httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The CPU form of the image, on a base of Debian's own Python."""
    if BASE not in buildah("images", "--format", "{{.Name}}").splitlines():
        root = tmp_path_factory.mktemp("base") / "root"
        packages = "python3,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        container = buildah("from", "scratch")
        buildah("add", "-q", container, str(root), "/")
        buildah("commit", "-q", "--rm", container, BASE)
        shutil.rmtree(root)
    # What pip needs to reach its index on this machine, if anything.
    mounts = [f"--volume={path}:{path}:ro" for path in ("/etc/pip.conf", "/etc/ssl/certs") if os.path.exists(path)]
    arguments = [f"--build-arg=BASE={BASE}", "--build-arg=DEVICE=cpu", *mounts, "-t", IMAGE, str(ROOT)]
    buildah("build", "--format", "docker", *arguments)
    yield IMAGE
    buildah("rmi", IMAGE)


@pytest.fixture
def container(image: str) -> Iterator[str]:
    made = buildah("from", image)
    yield made
    buildah("rm", made)


@needs_buildah
@pytest.mark.timeout(1800)
def test_the_image_serves_a_mounted_bundle_as_a_user_of_its_own(
    image: str, container: str, write_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    models = write_bundle().parent.parent
    tmp_path.chmod(0o755)
    for parent in models.parents:
        if parent.stat().st_uid == os.geteuid() and "pytest" in str(parent):
            parent.chmod(0o755)
    config = json.loads(buildah("inspect", "--type", "image", image))["Docker"]["config"]
    port = free_port()
    environment = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
    run = ["buildah", "run", f"--volume={models}:/srv/models:ro", container, "--"]
    with served([*run, *config["Entrypoint"], "--port", str(port)], port, env=environment) as url:
        assert httpx.post(f"{url}/predict", files={"image": RED}).json()["label"] == "red"
        health = [part.replace(":3000", f":{port}") for part in config["Healthcheck"]["Test"][1:]]
        buildah("run", container, "--", *health)
    assert config["User"] == "10001:10001"
    assert buildah("run", container, "--", "id", "-u") == "10001"


@needs_buildah
@pytest.mark.timeout(1800)
def test_the_image_holds_what_serves_and_no_more(container: str) -> None:
    program = (
        "import importlib.util as u;"
        "print([m for m in ('torch','torchvision','sklearn','training','pytest','onnx','pip') if u.find_spec(m)])"
    )
    assert buildah("run", container, "--", "python3", "-c", program) == "[]"
    found = buildah(
        "run", container, "--", "sh", "-c", "command -v gcc cc make git; ls /srv; find /srv/models -name '*.pyc'"
    )
    assert found.split() == ["decision", "models", "service"]


def test_bentoml_build_makes_a_bento_that_serves(write_bundle: Callable[..., Path], tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for name in ("decision", "service", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, context / name)
    write_bundle(context / "models")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EQUIPOISE_", "BENTOML_", "PROMETHEUS_"))}
    environment = clean | {
        "BENTOML_HOME": str(tmp_path / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "EQUIPOISE_STATE": str(tmp_path / "state"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    bentoml = [sys.executable, "-m", "bentoml"]
    built = subprocess.run(
        [*bentoml, "build", "--output", "tag"], cwd=context, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    bento = next((tmp_path / "home" / "bentos").glob("*/*/src"))
    assert {path.name for path in bento.iterdir()} >= {"decision", "service", "models"}
    assert not (bento / "training").exists()

    shutil.rmtree(context)
    port = free_port()
    command = [*bentoml, "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    with served(command, port, env=environment, cwd=tmp_path) as url:
        answer = httpx.post(f"{url}/predict", content=RED).json()
        assert (answer["label"], answer["policy_revision"]) == ("red", 1)
        assert answer["model"].startswith("tiny:")
