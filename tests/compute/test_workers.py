"""Worker processes: a case that fails, or that kills its process, never stops the others."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heartmend.compute.workers import each
from heartmend.errors import BadInputError, HeartmendError
from support import worker_tasks


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_yielded_with_its_item(count: int) -> None:
    outcomes = {item: (result, type(error)) for item, result, error in each(worker_tasks.square, [2, -1, 3], count)}
    assert outcomes == {2: (4, type(None)), -1: (None, BadInputError), 3: (9, type(None))}


def test_only_the_item_that_kills_its_process_has_an_error() -> None:
    outcomes = {item: (result, error) for item, result, error in each(worker_tasks.square, [1, 2, 13, 3, 4, 5], 2)}
    result, error = outcomes.pop(13)
    assert result is None
    assert isinstance(error, HeartmendError) and "killed twice" in str(error) and "fewer --workers" in str(error)
    assert outcomes == {n: (n * n, None) for n in (1, 2, 3, 4, 5)}


def test_a_function_of_a_script_can_have_given_arguments(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from heartmend.compute.workers import each\n"
        "def add(a, b): return a + b\n"
        "if __name__ == '__main__':\n"
        "    assert sorted(r for _, r, _ in each(partial(add, b=1), [1, 2], 2)) == [2, 3]\n"
    )
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr


def test_waiting_items_are_dropped_when_the_caller_stops(tmp_path: Path) -> None:
    outcomes = each(worker_tasks.record, [worker_tasks.RecordedCase(tmp_path, number) for number in range(100)], 2)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(list(tmp_path.glob("*.txt"))) <= 2


def test_work_in_this_process_has_one_thread_as_in_a_worker() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [threads for _, threads, _ in each(lambda _: torch.get_num_threads(), [0], 1)] == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
