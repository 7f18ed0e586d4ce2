"""Opening of regular files alone: a link, pipe, socket or device in the place of a file is an error, and never read."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import TextIO

from heartmend.errors import RunError

# Without O_NONBLOCK the system waits at a pipe until somebody writes into it. Windows has neither flag.
_SAFE_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def is_regular(path: Path) -> bool:
    """Check whether there is a regular file at a path; a link to one is not regular.

    Args:
        path: the path.

    Returns:
        True for a regular file; False also if there is nothing, or it cannot be examined.
    """
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def open_descriptor(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file for the calls of `os`.

    Args:
        path: the file.
        flags: as for `os.open`; with O_CREAT the file is made where there is none.

    Returns:
        The file descriptor, which the caller closes.

    Raises:
        RunError: if there is a link, a folder, a pipe, a socket or a device in its place.
        OSError: if it is missing, or the system cannot open it.
    """
    try:
        descriptor = os.open(path, flags | _SAFE_FLAGS, 0o644)
    except OSError as error:
        # Linux: ELOOP for a link; ENXIO for a socket, and for a pipe that is opened to be written.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EMLINK):
            raise _not_regular(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def open_to_read(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes.

    Args:
        path: the file.

    Returns:
        The open file, which the caller closes.

    Raises:
        RunError, OSError: as `open_descriptor`.
    """
    return os.fdopen(open_descriptor(path), "rb")


def open_to_append(path: Path) -> TextIO:
    """Open a regular file to append text; it is made where there is none.

    Args:
        path: the file.

    Returns:
        The open file (UTF-8, unchanged line ends), which the caller closes.

    Raises:
        RunError, OSError: as `open_descriptor`.
    """
    descriptor = open_descriptor(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace", newline="")


def read_regular(path: Path) -> bytes:
    """Read the content of a regular file.

    Args:
        path: the file.

    Returns:
        The content.

    Raises:
        RunError, OSError: as `open_descriptor`.
    """
    with open_to_read(path) as file:
        return file.read()


def check_regular(path: Path) -> None:
    """Check that a file, which another library opens by its path, is regular.

    Args:
        path: the path.

    Raises:
        RunError: if something else is in its place. A missing file is no error.
    """
    if os.path.lexists(path) and not is_regular(path):
        raise _not_regular(path)


_KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def _not_regular(path: Path) -> RunError:
    kind = _KINDS.get(stat.S_IFMT(path.lstat().st_mode), "a device")
    return RunError(f"{path}: is {kind}, not a file of this run; remove it and repeat the command")
