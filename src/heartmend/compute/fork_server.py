"""First import of the server of worker processes when the main thread starts it: the server ends with that thread."""

from __future__ import annotations

import sys
from types import TracebackType

from heartmend.compute.process_lifetime import end_with_parent


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception that ended a worker, except that of a worker that starts while the main process ends.

    Such a worker no longer finds the semaphores of its pool: a `FileNotFoundError` without a file name.

    Args:
        kind: class of the exception.
        error: the exception.
        trace: its traceback.
    """
    if not (isinstance(error, FileNotFoundError) and error.filename is None):
        sys.__excepthook__(kind, error, trace)


# Anywhere else an import of this module has no effect.
if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    end_with_parent()
    sys.excepthook = print_exception
