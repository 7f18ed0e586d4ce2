"""One function over many cases, on several processes; one bad case never stops the others."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Outcome = tuple[T, R | None, Exception | None]
"""What was asked, what came of it, and the error if one did."""


def each(work: Callable[[T], R], items: Iterable[T], workers: int = 0) -> Iterator[Outcome[T, R]]:
    """Apply `work` (of a module's top level) to every item; yields outcomes as they come.

    workers: processes, 0 for one a core; with 1 all is done in this process. Errors are yielded, not raised.
    """
    todo = list(items)
    count = min(workers or cores(), len(todo))
    if count <= 1:
        for item in todo:
            try:
                yield item, work(item), None
            except Exception as error:  # noqa: BLE001  (yielded to the caller, who tells the user)
                yield item, None, error
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
        waiting = {pool.submit(work, item): item for item in todo}
        for future in as_completed(waiting):
            failure = future.exception()
            if failure is not None and not isinstance(failure, Exception):
                raise failure
            yield waiting[future], None if failure else future.result(), failure


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_memory() -> None:
    """Let glibc keep freed blocks: a fit makes the same large arrays each step, and page faults would be half of it."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 1 << 31 - 1)
    except (OSError, AttributeError):
        return


def _quiet_worker() -> None:
    import torch

    torch.set_num_threads(1)
    keep_memory()
