"""Work for other processes: functions of a module that they can import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.stages import workers


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
