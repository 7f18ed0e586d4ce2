"""One function over many cases: a bad one, or one that kills its process, never stops the others."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from heartmend.compute import workers
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, HeartmendError
from support import worker_tasks


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_start_worker", worker_tasks.start_without_torch)
    monkeypatch.setattr(workers, "PRELOADED", [])


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_yielded_with_its_item(count: int) -> None:
    found = {item: (result, type(error)) for item, result, error in each(worker_tasks.square, [2, -1, 3], count)}
    assert found == {2: (4, type(None)), -1: (None, BadInputError), 3: (9, type(None))}


def test_an_item_that_kills_its_process_costs_that_item_alone() -> None:
    found = {item: (result, error) for item, result, error in each(worker_tasks.square, [1, 2, 13, 3, 4, 5], 2)}
    result, error = found.pop(13)
    assert result is None
    assert isinstance(error, HeartmendError) and "killed twice" in str(error) and "fewer --workers" in str(error)
    assert found == {n: (n * n, None) for n in (1, 2, 3, 4, 5)}


def test_to_stop_early_drops_what_waits() -> None:
    outcomes = each(worker_tasks.square, list(range(20, 1000)), 2)
    next(outcomes)
    began = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 20


def test_in_this_process_work_has_one_thread_as_in_a_worker() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [threads for _, threads, _ in each(lambda _: torch.get_num_threads(), [0], 1)] == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from heartmend.compute import workers\n"
        "from support import worker_tasks\n"
        "if __name__ == '__main__':\n"
        "    workers._start_worker, workers.PRELOADED = worker_tasks.start_without_torch, []\n"
        f"    list(workers.each(worker_tasks.note_pid_and_wait, [Path({str(tmp_path)!r})] * 2, 2))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)])
    deadline = time.monotonic() + 60
    while len(noted := [p for p in tmp_path.iterdir() if p.name.isdecimal()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    children = [psutil.Process(int(path.name)) for path in noted]
    parent.kill()
    parent.wait()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []
