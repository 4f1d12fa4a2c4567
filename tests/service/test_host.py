"""What the workers of a host share: one id, one leader, and since when the database is down."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.host import HostPolicy


def test_whoever_is_first_makes_the_id_of_a_host(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = {host.id for host in pool.map(lambda n: HostPolicy(tmp_path, f"model-{n}"), range(32))}
    assert len(ids) == 1
    assert HostPolicy(tmp_path, "another").id in ids
    assert HostPolicy(tmp_path / "other", "model-0").id not in ids


def test_an_id_that_was_never_written_is(tmp_path: Path) -> None:
    (tmp_path / "host.id").touch()  # as of a kill in between
    assert HostPolicy(tmp_path, "tiny").id == HostPolicy(tmp_path, "tiny").id != ""


def test_one_worker_leads_and_goes_on_leading(tmp_path: Path) -> None:
    one, other = HostPolicy(tmp_path, "tiny"), HostPolicy(tmp_path, "tiny")
    assert [one.leads(), other.leads(), one.leads()] == [True, False, True]


def test_the_database_is_down_since_it_was_first_seen_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("service.host.time.time", lambda: now[0])
    one, other = HostPolicy(tmp_path, "tiny"), HostPolicy(tmp_path, "tiny")
    assert other.down_since is None
    one.note_database_down()
    now[0] = 1001.0
    other.note_database_down()
    assert other.down_since == 1000.0
    other.note_database_heard()  # it can be read, and does not take what is written
    assert other.down_since == 1000.0
    other.note_database_up()
    assert one.down_since is None
    now[0] = 2000.0
    assert one.down_since == 1001.0, "a follower that hangs has not heard of it"
    one.note_database_down()
    assert other.down_since == 2000.0
