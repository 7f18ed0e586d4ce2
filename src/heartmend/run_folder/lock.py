"""A lock on a folder that a second process cannot take and that ends with its owner."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from heartmend.errors import RunError
from heartmend.io.regular import is_regular, open_descriptor

_LOCKED: dict[tuple[int, int], int] = {}
"""Device and inode of the lock files that this process has locked, with its id."""


class FolderLock:
    """An exclusive POSIX record lock on a file.

    The system releases it when the process ends, however that happens. Unlike a lock by `flock` it is never shared
    with a forked child, so a worker that outlives its parent cannot keep a run locked. The system forgets such a lock
    when the process closes the file anywhere, so a file that is locked here is not opened a second time.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Args:
            path: the file of the lock, made where there is none.

        Raises:
            RunError: if another process has it, or this one.
        """
        self._descriptor: int | None = None
        if is_regular(path) and _LOCKED.get(_key(path)) == os.getpid():
            raise _taken(path, str(os.getpid()))
        descriptor = open_descriptor(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise _taken(path, owner) from error
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor, self._key = descriptor, _key(path)
        _LOCKED[self._key] = os.getpid()

    def release(self) -> None:
        """Release the lock; to do so again is no error."""
        if self._descriptor is not None:
            _LOCKED.pop(self._key, None)
            os.close(self._descriptor)
            self._descriptor = None


def _key(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _taken(path: Path, owner: str) -> RunError:
    return RunError(
        f"{path.parent.parent}: another process (id {owner}) is working on it; wait until it ends, or end it"
    )
