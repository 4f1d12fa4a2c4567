"""The laws of a changing policy, in the short form; `python -m tests.service.consistency` runs the long one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decision import parse_policy
from tests.service.conftest import free_port
from tests.service.consistency.clients import Writers
from tests.service.consistency.kills import through_kills
from tests.service.consistency.laws import Written, check_writes
from tests.service.consistency.one_host import on_one_host
from tests.service.consistency.two_hosts import on_two_hosts


def test_every_answer_is_right_under_one_revision_in_force_and_no_update_is_lost(tmp_path: Path) -> None:
    found = on_one_host(tmp_path, seconds=6, workers=2, writers=4, readers=2)
    assert found["revisions"] > 5
    assert found["answers checked"] > 50


def test_two_hosts_agree_within_a_second_and_outlive_their_database(
    tmp_path: Path, postgres: Callable[[str], Any]
) -> None:
    found = on_two_hosts(tmp_path, postgres("two-hosts"), changes=20, outage=3)
    assert found["answers in it"] > 50


def test_whatever_is_killed_no_change_that_was_answered_is_lost(tmp_path: Path, postgres: Callable[[str], Any]) -> None:
    found = through_kills(tmp_path, postgres("killed"), changes=50)
    assert found["killed"] == ["worker", "database", "arbiter", "database"]
    assert found["stored"] >= 1 + 50


def test_a_policy_that_was_stored_otherwise_than_sent_is_found() -> None:
    own = {"rule": {"kind": "argmax"}, "abstain_below": 0.1}
    entry = {"revision": 1, "reason": "r", "actor": "admin", "policy": parse_policy(own).model_dump(mode="json")}
    written = [Written(1, 0.0, 1.0, "r", own)]
    check_writes(written, [entry])
    for changed in ({"reason": "s"}, {"revision": 2}, {"policy": entry["policy"] | {"rule": {"kind": "priors"}}}):
        with pytest.raises(AssertionError):
            check_writes(written, [entry | changed])


def test_a_writer_that_fails_fails_the_run() -> None:
    writing = Writers(free_port(), time.monotonic() + 1, 2)
    with pytest.raises(AssertionError, match=r"writer \d: ConnectError"):
        writing.join()
