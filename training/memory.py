"""How much memory this process may still take: of the machine, and of the container it runs in."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil


class _Files(NamedTuple):
    """What a version of control groups calls its files, and the cached bytes that it gives up when asked for more."""

    limit: str
    usage: str
    cached: str


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def available_memory(root: Path = Path("/")) -> int:
    """Bytes: the least of what the machine has and what each control group above this process has left.

    A group's usage counts cached files too; those not used lately are not held against it, as Kubernetes does not.
    """
    machine: int = psutil.virtual_memory().available
    return max(0, min([machine, *_left(root)]))


def _left(root: Path) -> Iterator[int]:
    """Bytes left to each control group with a limit that this process is in (cgroups(7), both versions)."""
    lines = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers == "":
            mount, files = root / "sys/fs/cgroup", _V2
        elif "memory" in controllers.split(","):
            mount, files = root / "sys/fs/cgroup/memory", _V1
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):  # up to the mount itself, which in a container is the container's group
            with suppress(OSError, ValueError):  # no such group, or its limit is "max"
                yield _left_to(mount / group, files)


def _left_to(group: Path, files: _Files) -> int:
    limit, usage = (int((group / name).read_text()) for name in (files.limit, files.usage))
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return limit - usage + int(stat.get(files.cached, 0))
