from pathlib import Path

import psutil
import pytest

from training.memory import available_memory


def group(path: Path, limit: str, usage: str, stat: str, version: int) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    path.mkdir(parents=True, exist_ok=True)
    for name, text in zip((*names, "memory.stat"), (limit, usage, stat), strict=True):
        (path / name).write_text(text + "\n")


def process(root: Path, lines: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    return root / "sys/fs/cgroup"


def test_the_least_of_all_groups_above_counts(tmp_path: Path) -> None:
    mount = process(tmp_path, "0::/outer/inner\n")
    group(mount / "outer", "1000000", "400000", "anon 1\ninactive_file 50000", 2)
    group(mount / "outer/inner", "900000", "100000", "inactive_file 0", 2)
    assert available_memory(tmp_path) == 650_000


def test_of_a_container_the_mount_is_the_group(tmp_path: Path) -> None:
    group(process(tmp_path, "0::/../elsewhere\n"), "5000", "1000", "inactive_file 10", 2)
    assert available_memory(tmp_path) == 4010


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    mount = process(tmp_path, "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n")
    group(mount / "memory/a", "3000", "1000", "inactive_file 7\ntotal_inactive_file 20", 1)
    assert available_memory(tmp_path) == 2020


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path: Path) -> None:
    group(process(tmp_path, "0::/\n"), "1000", "2000", "inactive_file 0", 2)
    assert available_memory(tmp_path) == 0


@pytest.mark.parametrize("limit", [None, "max"])
def test_without_a_limit_the_machine_s_counts(tmp_path: Path, limit: str | None) -> None:
    mount = process(tmp_path, "0::/\n")
    if limit:
        group(mount, limit, "1", "inactive_file 0", 2)
    assert available_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_this_machine_says_something() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total
