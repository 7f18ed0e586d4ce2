"""Start of processes that do not import the main module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_main_module(work_module: str) -> Iterator[None]:
    """Hide the main module from processes that are started in the block.

    Otherwise every worker executes the script of a user again that has no `if __name__ == "__main__"`.

    Args:
        work_module: module of the function that the processes call; the main module is hidden unless it is this one.

    Yields:
        None.
    """
    main = sys.modules["__main__"]
    names = () if work_module == "__main__" else ("__file__", "__spec__")
    hidden = {name: getattr(main, name) for name in names if getattr(main, name, None) is not None}
    for name in hidden:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)
