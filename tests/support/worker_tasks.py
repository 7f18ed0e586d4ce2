"""Tasks for worker processes, in a module that they can import."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.atomic import atomic_write


def square(number: int) -> int:
    """Compute the square; 13 kills its process, and a negative number is bad input."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number < 0:
        raise BadInputError(f"{number}: is negative")
    return number * number


def note_pid_and_wait(folder: Path) -> None:
    """Write a file that is named by the process id, then wait for an hour."""
    (folder / str(os.getpid())).touch()
    time.sleep(3600)


def note_pid_and_wait_once(folder: Path) -> None:
    """Write a file that is named by the process id; the first to find FOLDER/continue returns, the other one waits."""
    (folder / str(os.getpid())).touch()
    while True:
        time.sleep(0.02)
        with suppress(OSError):
            (folder / "continue").rename(folder / "continued")
            return


def write_and_wait(folder: Path) -> None:
    """Wait for an hour in the middle of writing a file."""
    with atomic_write(folder / f"{os.getpid()}.txt") as temporary:
        temporary.touch()
        time.sleep(3600)


@dataclass(frozen=True)
class RecordedCase:
    """Case that writes a line to FOLDER/NUMBER.txt whenever it is processed; the first time it may kill its process."""

    folder: Path
    number: int
    kills: bool = False


def record(case: RecordedCase) -> int:
    """Compute the square of a case's number and write its line."""
    started = case.folder / f"{case.number}.started"
    if case.kills and not started.exists():
        started.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    if (case.folder / f"{case.number}.txt").exists():
        return case.number**2
    with (case.folder / f"{case.number}.txt").open("a") as file:
        file.write(f"{Path.cwd()}\n")
    return case.number**2
