"""Work for other processes: functions of a module that they can import."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from heartmend.compute import workers
from heartmend.errors import BadInputError


def begin_without_torch() -> None:
    """What a worker begins with, but for torch, which takes seconds to read."""
    threading.Thread(target=workers._die_with_parent, daemon=True).start()


def square(number: int) -> int:
    """Its square; but 13 kills the process that works on it, and a negative number is bad input."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number < 0:
        raise BadInputError(f"{number}: is negative")
    return number * number


def note_pid_and_wait(folder: Path) -> None:
    """Leaves its process id as a file's name, then works for a minute."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


@dataclass(frozen=True)
class Noted:
    """A case that leaves a line in FOLDER/NUMBER.txt each time that it is done; the first time it may kill."""

    folder: Path
    number: int
    kills: bool = False


def note(case: Noted) -> int:
    """Its square; see `Noted`."""
    begun = case.folder / f"{case.number}.begun"
    if case.kills and not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    if (case.folder / f"{case.number}.txt").exists():
        return case.number**2
    with (case.folder / f"{case.number}.txt").open("a") as file:
        file.write(f"{Path.cwd()}\n")
    return case.number**2
