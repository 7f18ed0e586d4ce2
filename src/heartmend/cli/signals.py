"""SIGTERM: a command ends as after Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from heartmend.cli.terminal import TERMINATED


@contextmanager
def orderly_exit() -> Iterator[None]:
    """Let SIGTERM raise SystemExit in the block, so that temporary files are removed and worker processes are ended.

    A second SIGTERM ends the process at once.

    Yields:
        None.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_on_signal(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise SystemExit(TERMINATED)
