"""A lock on a folder that a second process cannot take and that dies with its owner."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from heartmend.errors import RunError


class FolderLock:
    """An exclusive flock on a file. The system lets go of it when the process ends, however that happens.

    A forked child gives up its copy at once, so that an orphaned worker cannot keep a dead run locked.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(self._descriptor, 64).decode(errors="replace").strip() or "unknown"
            self._close()
            raise RunError(
                f"{path.parent.parent}: another process (id {owner}) is working on it; wait for it or end it"
            ) from error
        except OSError:
            self._close()
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _close_of(this))

    def release(self) -> None:
        """Let go of the lock; again is no error."""
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _close_of(reference: weakref.ref[FolderLock]) -> None:
    if (lock := reference()) is not None:
        lock._close()
