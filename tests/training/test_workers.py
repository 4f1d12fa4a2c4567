import os
import time

import pytest
import torch

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
