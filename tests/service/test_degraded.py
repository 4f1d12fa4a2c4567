"""What may go wrong around the policy, each tried: the last known policy goes on, and it is said what ails."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision import save_bundle
from tests.conftest import channel_means, holdout, manifest, noise, png
from tests.service.conftest import PRIORS, Server, put, scrape, total, until

GOOD = png(noise(0))
CHANGED = PRIORS | {"abstain_below": 0.01}


def degraded(server: Server) -> list[str]:
    found: list[str] = httpx.get(f"{server.url}/readyz", timeout=30).json()["degraded"]
    return found


def changed(server: Server) -> dict[str, Any]:
    """Put a policy in force that is not the bundle's default."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answer = put(client, CHANGED, reason="before")
        assert answer.status_code == 200
        document: dict[str, Any] = answer.json()
        return document


def goes_on_with(server: Server, policy: dict[str, Any]) -> None:
    """It answers under this policy, refuses to change it, and says why."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/config").json() == policy
        answer = client.post("/predict", content=GOOD)
        assert (answer.status_code, answer.json()["policy_revision"]) == (200, policy["revision"])
        refused = put(client, PRIORS)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), refused.text
        assert client.get("/config/history").status_code == 503
    assert "the policy store has not answered since 20" in degraded(server)[0]
    assert total(scrape(server.url), "equipoise_store_up") == 0


def is_whole(server: Server) -> None:
    until(lambda: degraded(server) == [])
    assert total(scrape(server.url), "equipoise_store_up") == 1
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert put(client, PRIORS).status_code == 200


def test_a_start_with_the_database_down_serves_the_last_policy(
    start: Callable[..., Server], postgres: Callable[[str], Any]
) -> None:
    postgresql = postgres("restarted")
    settings = {"EQUIPOISE_DATABASE_URL": postgresql.get_uri()}
    first = start(workers=1, **settings).wait()
    policy = changed(first)
    first.stop()
    postgresql.stop()
    again = start(state=first.state, **settings).wait()
    goes_on_with(again, policy)
    postgresql.ensure_postgres_running()
    is_whole(again)
    with httpx.Client(base_url=again.url) as client:
        assert client.get("/config").json()["revision"] == policy["revision"] + 1


def test_a_first_start_needs_its_database(start: Callable[..., Server]) -> None:
    server = start(EQUIPOISE_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert server.process.wait(60) == 2
    assert "\nerror: the database cannot be opened: " in f"\n{server.log}"
    assert "Traceback" not in server.log


def test_a_corrupted_database_is_left_alone_and_what_it_lost_is_stored_again(start: Callable[..., Server]) -> None:
    first = start(workers=1).wait()
    policy = changed(first)
    first.stop()
    for path in first.state.glob("equipoise.db*"):
        path.write_bytes(b"not a database" * 1000)
    broken = (first.state / "equipoise.db").read_bytes()
    again = start(state=first.state).wait()
    goes_on_with(again, policy)
    assert (first.state / "equipoise.db").read_bytes() == broken
    (first.state / "equipoise.db").rename(first.state / "kept-for-the-doctor")
    for path in first.state.glob("equipoise.db-*"):
        path.unlink()
    is_whole(again)
    with httpx.Client(base_url=again.url) as client:
        newest, restored = client.get("/config/history").json()["revisions"]
    assert (newest["revision"], restored["revision"]) == (policy["revision"] + 2, policy["revision"] + 1)
    assert restored["policy"] == CHANGED
    assert restored["reason"].startswith(f"the database had no revision; revision {policy['revision']}, kept here")


def test_an_old_backup_does_not_bring_an_old_policy_back(start: Callable[..., Server]) -> None:
    first = start(workers=1).wait()
    first.stop()
    backup = (first.state / "equipoise.db").read_bytes()
    again = start(state=first.state, workers=1).wait()
    policy = changed(again)
    again.stop()
    for path in first.state.glob("equipoise.db-*"):
        path.unlink()
    (first.state / "equipoise.db").write_bytes(backup)
    with httpx.Client(base_url=start(state=first.state, workers=1).wait().url) as client:
        now = client.get("/config").json()
    assert (now["revision"], now["policy"]) == (policy["revision"] + 1, CHANGED)
    assert now["reason"].startswith("the database went back from revision 2 to 1; revision 2 of")


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"revision": 7}', None])
def test_a_broken_kept_policy_is_nothing_but_slower(start: Callable[..., Server], kept: str | None) -> None:
    first = start(workers=1).wait()
    policy = changed(first)
    first.stop()
    path = first.state / "tiny.policy.json"
    path.unlink() if kept is None else path.write_text(kept)
    with httpx.Client(base_url=start(state=first.state, workers=1).wait().url) as client:
        assert client.get("/config").json() == policy
    assert json.loads(path.read_text())["entry"]["revision"] == policy["revision"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]).returncode:
        pytest.skip("a disk of its own needs root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_on_a_full_disk_predictions_go_on_and_no_change_is_half_there(
    start: Callable[..., Server], small_disk: Path
) -> None:
    server = start(state=small_disk / "state", workers=1, BENTOML_HOME=str(small_disk.parent / "bentoml")).wait()
    policy = changed(server)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # a buffer would be full when it is closed
        while True:
            file.write(b"x" * 4096)
    stored = policy["revision"]
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for n in range(200):
            answer = put(client, PRIORS | {"abstain_below": n / 1000}, reason="x" * 400)
            assert answer.status_code in (200, 503), answer.text
            stored += answer.status_code == 200
            assert client.post("/predict", content=GOOD).status_code == 200
            if answer.status_code == 503:
                break
        else:
            raise AssertionError("the disk never filled")
        filler.unlink()
        until(lambda: put(client, PRIORS).status_code == 200)
        numbers = [entry["revision"] for entry in client.get("/config/history?limit=100").json()["revisions"]]
        assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
        assert numbers[0] == stored + 1
    is_whole(server)


def test_a_state_folder_that_cannot_be_written_is_named(start: Callable[..., Server]) -> None:
    server = start(workers=1, EQUIPOISE_STATE="/proc/state")
    assert server.process.wait(60) == 2
    assert server.log.splitlines()[-1].startswith("error: ")
    assert "/proc/state" in server.log.splitlines()[-1]


def test_a_bundle_without_a_targeted_class_says_so_everywhere(start: Callable[..., Server], tmp_path: Path) -> None:
    def model(**changes: Any) -> Path:
        made = manifest(**changes)
        return save_bundle(tmp_path / "m", made, network=channel_means(), holdout=holdout(), report="").parent

    server = start(model=model(), workers=1).wait()
    with httpx.Client(base_url=server.url) as client:
        recall = {"rule": {"kind": "recall", "targets": {"blue": 0.5}}, "deployment_priors": "uniform"}
        assert put(client, recall).status_code == 200
    server.stop()
    names = ("red", "green", "violet")
    other = model(
        classes=names, training_priors=dict(zip(names, (0.7, 0.2, 0.1), strict=True)),
        calibration_priors=dict(zip(names, (0.6, 0.3, 0.1), strict=True)),
        calibration={"temperature": 1.0, "bias": dict.fromkeys(names, 0.0)},
    )  # fmt: skip
    again = start(model=other, workers=1).wait()
    (said,) = degraded(again)
    assert said.startswith("the bundle's default policy is in force: default of tiny:")
    assert "/rule/targets/blue: unknown class" in said
    assert total(scrape(again.url), "equipoise_policy_fallback") == 1
    with httpx.Client(base_url=again.url) as client:
        assert client.get("/config/history").json()["revisions"][0]["event"] == "fallback"
        assert put(client, PRIORS).status_code == 200
    assert degraded(again) == []
    assert total(scrape(again.url), "equipoise_policy_fallback") == 0
