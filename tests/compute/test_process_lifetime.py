"""Worker processes end with the command, in whatever way it ends."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.cohorts import write_cohort

DEADLINE_S = 120.0
"""Limit for waits, generous because the machine may be busy."""
TESTS = Path(__file__).parents[1]
TWO_WORKERS = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from heartmend.cli.signals import orderly_exit
from heartmend.compute import workers
from support import worker_tasks

if __name__ == "__main__":
    workers.GRACE_S = 60.0
    with orderly_exit():
        for _ in workers.each(worker_tasks.TASK, [Path(sys.argv[1])] * ITEMS, 2):
            END
"""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met"
        time.sleep(0.02)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return all processes that a process and its children started."""
    return psutil.Process(process.pid).children(recursive=True)


@contextmanager
def started(*command: object, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start Python in a session of its own, with stderr in a file, so that no worker keeps a pipe open."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=file, stderr=file, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def started_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait for two workers, which the server of workers forks; returns all descendants."""

    def found() -> bool:
        assert process.poll() is None, "the command ended too early"
        children = psutil.Process(process.pid).children()
        return any(len(child.children()) == 2 for child in children if child.is_running())

    def found_or_changed() -> bool:
        try:
            return found()
        except psutil.NoSuchProcess:
            return False

    wait_until(found_or_changed)
    return descendants(process)


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal; Ctrl-C reaches all processes of a terminal."""
    if number == signal.SIGINT:
        for each in [psutil.Process(process.pid), *descendants(process)]:
            each.send_signal(number)
    else:
        process.send_signal(number)


def messages(log: Path) -> list[str]:
    """Return the lines of a log without the progress."""
    return [line for line in log.read_text().splitlines() if line and not line[:2].isdecimal()]


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 143, ["Ended by SIGTERM."]),
        (signal.SIGINT, 130, ["Interrupted."]),
        (signal.SIGKILL, -signal.SIGKILL, None),
    ],
)
def test_phantom_leaves_no_process_behind(
    tmp_path: Path, number: signal.Signals, status: int, message: list[str] | None
) -> None:
    log = tmp_path / "log"
    command = ("-m", "heartmend", "phantom", "-o", tmp_path / "out", "--count", 500, "--workers", 2)
    with started(*command, "--spacing-mm", 2, log=log) as process:
        others = started_workers(process)
        send(process, number)
        assert process.wait(DEADLINE_S) == status
        assert psutil.wait_procs(others, timeout=DEADLINE_S)[1] == []
    # After SIGKILL Python's resource tracker prints that it removed the semaphores.
    assert message is None or messages(log) == message


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_leaves_no_process_behind_and_the_same_command_continues(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    labels, log, out = write_cohort(tmp_path, count=24), tmp_path / "log", tmp_path / "out"
    command = ("-m", "heartmend", "run", labels, "-o", out, "--config", tmp_path / "small.toml", "--workers", 2)
    with started(*command, "--stop-after", "prepare", log=log) as process:
        others = started_workers(process)
        send(process, number)
        assert process.wait(DEADLINE_S) == status
        assert psutil.wait_procs(others, timeout=DEADLINE_S)[1] == []
    if number == signal.SIGTERM:
        assert messages(log) == ["Ended by SIGTERM. The same command continues where it stopped."]
        assert "WARNING ended by SIGTERM" in (out / "run" / "heartmend.log").read_text()
    with started(*command, "--stop-after", "prepare", log=log) as process:
        assert process.wait(DEADLINE_S) == 0, log.read_text()


def script(folder: Path, task: str, items: int = 2, end: str = "pass") -> Path:
    """Write a script with two workers; `end` is executed after the first outcome."""
    path = folder / "script.py"
    path.write_text(TWO_WORKERS.replace("TASK", task).replace("ITEMS", str(items)).replace("END", end))
    return path


def numbered(folder: Path) -> list[psutil.Process]:
    """Return the processes that wrote a file named by their number."""
    return [psutil.Process(int(path.name)) for path in folder.iterdir() if path.name.isdecimal()]


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with started(script(tmp_path, "note_pid_and_wait"), tmp_path, log=tmp_path / "log") as process:
        wait_until(lambda: len(numbered(tmp_path)) == 2)
        workers = numbered(tmp_path)
        process.kill()
        assert psutil.wait_procs(workers, timeout=DEADLINE_S)[1] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_that_are_ended_remove_their_temporary_files(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with started(script(tmp_path, "write_and_wait"), folder, log=tmp_path / "log") as process:
        wait_until(lambda: len(list(folder.iterdir())) == 2)
        send(process, number)
        process.wait(DEADLINE_S)
    assert list(folder.iterdir()) == []


def test_workers_end_after_an_exception(tmp_path: Path) -> None:
    """The exception is raised beside the generator, which still has a worker in the middle of its work."""
    command = script(tmp_path, "note_pid_and_wait_once", 2, "raise ValueError('no')")
    with started(command, tmp_path, log=tmp_path / "log") as process:
        wait_until(lambda: len(numbered(tmp_path)) == 2)
        workers = numbered(tmp_path)
        (tmp_path / "continue").touch()
        assert process.wait(DEADLINE_S) == 1
        assert psutil.wait_procs(workers, timeout=DEADLINE_S)[1] == []
