"""The laws of a changing policy, in the short form; `python -m tests.service.consistency` runs the long one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.service.consistency import on_one_host, on_two_hosts, through_kills


def test_every_answer_is_right_under_one_revision_in_force_and_no_update_is_lost(tmp_path: Path) -> None:
    found = on_one_host(tmp_path, seconds=6, workers=2, writers=4, readers=2)
    assert found["revisions"] > 5
    assert found["answers checked"] > 50


def test_two_hosts_agree_within_a_second_and_outlive_their_database(
    tmp_path: Path, postgres: Callable[[str], Any]
) -> None:
    found = on_two_hosts(tmp_path, postgres("two-hosts"), changes=20, outage=3)
    assert found["predictions in it"] > 50


def test_whatever_is_killed_no_change_that_was_answered_is_lost(tmp_path: Path, postgres: Callable[[str], Any]) -> None:
    found = through_kills(tmp_path, postgres("killed"), changes=50)
    assert found["answered 200"] == 50
