import os
import signal
import time

import pytest
import torch

from training.errors import DataError
from training.workers import in_order


def late(item: int) -> tuple[int, int, int]:
    time.sleep(0.05 if item % 3 == 0 else 0)
    return item, os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_results_are_in_order_whoever_is_first(workers: int) -> None:
    results = list(in_order(late, iter(range(12)), workers))
    assert [item for item, _, _ in results] == list(range(12))
    pids = {pid for _, pid, _ in results}
    assert (os.getpid() in pids) == (workers == 0)
    assert len(pids) == max(1, workers)
    assert workers == 0 or {threads for _, _, threads in results} == {1}


def test_few_items_are_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> object:
        for i in range(100):
            taken.append(i)
            yield i

    results = in_order(late, items(), 2)  # type: ignore[arg-type]
    next(results)
    assert len(taken) <= 2 * 2 + 1


def test_nothing_is_nothing() -> None:
    assert list(in_order(late, [], 2)) == []


def test_a_worker_that_is_killed_is_one_clear_error() -> None:
    def killed(item: int) -> int:
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    with pytest.raises(DataError, match="a process that decodes images was killed; --workers 1 needs less memory"):
        list(in_order(killed, range(8), 2))
