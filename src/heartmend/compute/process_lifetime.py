"""Lifetime of processes: no process outlives the one that started it."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let the kernel kill this process as soon as the thread that started it ends (Linux; elsewhere without effect).

    Call it only in a process whose parent thread lives as long as the process is needed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
