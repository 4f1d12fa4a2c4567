"""A tally keeps what was added, whoever dies, and adds up over workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tally import Layout, Tally, added_up, of_workers
from tests.service.conftest import ROOT

LAYOUT = Layout({"one": (), "row": (3,), "table": (2, 4)})


@given(st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1))
def test_blocks_lie_side_by_side_and_fill_the_array(shapes: dict[str, tuple[int, ...]]) -> None:
    layout = Layout(shapes)
    flat = np.zeros(layout.size)
    for number, (name, shape) in enumerate(shapes.items(), 1):
        block = layout.block(flat, name)
        assert block.shape == shape
        assert not block.any(), "no block overlaps another"
        block += number
    assert flat.all()
    assert layout.end(list(shapes)[-1]) == layout.size


def test_sums_of_workers_add_up(tmp_path: Path) -> None:
    for pid in (1, 2):
        tally = Tally(tmp_path, pid, LAYOUT)
        with tally.lock:
            tally.block("row")[1] += pid
            tally.block("one")[...] += 0.5
    total = added_up(tmp_path, LAYOUT)
    assert LAYOUT.block(total, "row").tolist() == [0, 3, 0]
    assert LAYOUT.block(total, "one") == 1.0
    assert [row.tolist() for row in of_workers(tmp_path, [2, 7], LAYOUT, "row")] == [[0, 2, 0]]
    assert not added_up(tmp_path / "nowhere", LAYOUT).any()


def test_a_process_with_the_number_of_a_dead_one_goes_on(tmp_path: Path) -> None:
    Tally(tmp_path, 7, LAYOUT).block("row")[0] = 5
    Tally(tmp_path, 7, LAYOUT).block("row")[0] += 1
    assert LAYOUT.block(added_up(tmp_path, LAYOUT), "row")[0] == 6


def test_threads_lose_nothing(tmp_path: Path) -> None:
    tally = Tally(tmp_path, 1, LAYOUT)

    def add() -> None:
        for _ in range(2_000):
            with tally.lock:
                tally.block("table")[...] += 1.0

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tally.block("table") == 8_000).all()


def test_a_killed_worker_loses_nothing_that_it_said(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom service.tally import Layout, Tally\n"
        "tally = Tally(Path(sys.argv[1]), os.getpid(), Layout({'n': ()}))\n"
        "while True:\n    tally.block('n')[...] += 1\n    print(int(tally.block('n')), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout
        worker.stdout.readline()
        time.sleep(0.2)
        os.kill(worker.pid, signal.SIGKILL)
        said = int([line for line in worker.stdout.read().splitlines(keepends=True) if line.endswith("\n")][-1])
    assert added_up(tmp_path, Layout({"n": ()}))[0] in (said, said + 1)


def test_a_file_of_another_layout_is_not_mistaken_for_one(tmp_path: Path) -> None:
    Tally(tmp_path, 7, LAYOUT)
    with pytest.raises(ValueError):
        added_up(tmp_path, Layout({"more": (1_000,)}))
