"""What a server's processes hold and use: memory, CPU time, connections."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving.contenders import OURS, Running


@dataclass(frozen=True)
class Memory:
    """Resident, in MiB: of the worker that holds most, and of all processes that are none (Equipoise's arbiter)."""

    worker: float
    others: float


def workers(running: Running) -> list[psutil.Process]:
    """The processes that answer."""
    top = psutil.Process(running.process.pid)
    spawned = [child for child in top.children(recursive=True) if child.is_running()]
    mark = "_bentoml_impl" if running.contender is OURS else "spawn_main"
    return [child for child in spawned if mark in " ".join(child.cmdline())] or [top]


def memory(running: Running) -> Memory:
    top, own = psutil.Process(running.process.pid), workers(running)
    others = [one for one in (top, *top.children(recursive=True)) if one not in own]
    return Memory(max(map(_mebibytes, own)), sum(map(_mebibytes, others)))


def connections(running: Running) -> list[int]:
    """How many each worker has open now."""
    return [sum(one.status == psutil.CONN_ESTABLISHED for one in worker.net_connections("tcp"))
            for worker in workers(running)]  # fmt: skip


def cpu_seconds(running: Running) -> float:
    """That the workers have used, in all their threads, to the nanosecond."""
    return sum(_seconds(task) for worker in workers(running) for task in Path(f"/proc/{worker.pid}/task").iterdir())


def loop_seconds(running: Running) -> float:
    """That the threads with the event loops have used: a process's first."""
    return sum(_seconds(Path(f"/proc/{worker.pid}/task/{worker.pid}")) for worker in workers(running))


def _seconds(task: Path) -> float:
    return int((task / "schedstat").read_text().split()[0]) / 1e9


def _mebibytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)
