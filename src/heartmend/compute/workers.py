"""One function over many cases, on several processes; one bad case never stops the others."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import connection, forkserver, get_context, parent_process
from typing import Any, TypeVar

from heartmend.errors import HeartmendError

T = TypeVar("T")
R = TypeVar("R")

Outcome = tuple[T, R | None, Exception | None]
"""What was asked, what came of it, and the error if one did."""

PRELOADED = ["torch"]
"""What processes share beside the module of their work."""


Runner = Callable[[Callable[[Any], Any], list[Any]], Iterator[Outcome[Any, Any]]]
ELSEWHERE: ContextVar[Runner | None] = ContextVar("ELSEWHERE", default=None)
"""What does the work in the place of processes here: a cluster, for as long as one is asked for."""


def each(
    work: Callable[[T], R], items: Iterable[T], workers: int = 0, *, local: bool = False
) -> Iterator[Outcome[T, R]]:
    """Apply `work` (of a module's top level) to every item; yields outcomes as they come.

    workers: processes, 0 for one a core; with 1 all is done in this process. Errors are yielded, not raised. An item
    whose process is killed, such as for want of memory, is tried once more alone, then yielded with an error. The
    result of an item does not depend on the number of workers: each has one thread. nearby: never on a cluster,
    because what comes of an item is too much to travel.
    """
    todo = list(items)
    if (runner := ELSEWHERE.get()) is not None and not local:
        yield from runner(work, todo)
        return
    count = min(workers or available_cores(), len(todo))
    if count > 1:
        yield from _on_processes(work, todo, count)
        return
    for item in todo:
        try:
            with one_thread():
                result = work(item)
        except Exception as error:  # noqa: BLE001  (yielded to the caller, who tells the user)
            yield item, None, error
        else:
            yield item, result, None


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks: a fit makes the same large arrays each step, and page faults would be half of it."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 1 << 31 - 1)
    except (OSError, AttributeError):
        return


def _on_processes(work: Callable[[T], R], todo: list[T], count: int) -> Iterator[Outcome[T, R]]:
    """No more than `count` items are handed out at a time: when a process is killed, these alone are suspects."""
    waiting = list(reversed(todo))
    while waiting:
        running: dict[Future[R], T] = {}
        with _pool(count, work.__module__) as pool:
            while _handed_out(pool, work, waiting, running, count) and running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                if not all(map(_is_sound, done)):
                    break
                for future in done:
                    outcome = _outcome(running.pop(future), future)
                    yield outcome
        for future, item in running.items():
            if _is_sound(future):
                ended = _outcome(item, future)
                yield ended
            else:
                yield _alone(work, item)


def _handed_out(
    pool: ProcessPoolExecutor, work: Callable[[T], R], waiting: list[T], running: dict[Future[R], T], count: int
) -> bool:
    """Keep `count` items running while there are any; False when the pool takes no more, because a process died."""
    while waiting and len(running) < count:
        try:
            future = pool.submit(work, waiting[-1])
        except BrokenProcessPool:
            return False
        running[future] = waiting.pop()
    return True


def _alone(work: Callable[[T], R], item: T) -> Outcome[T, R]:
    with _pool(1, work.__module__) as pool:
        future = pool.submit(work, item)
        wait([future])
        if _is_sound(future):
            return _outcome(item, future)
    killed = "the process that worked on it was killed, twice; it may want more memory than there is"
    return item, None, HeartmendError(f"{killed}: give fewer --workers, or crop the volume")


def _outcome(item: T, future: Future[R]) -> Outcome[T, R]:
    failure = future.exception()
    if failure is not None and not isinstance(failure, Exception):
        raise failure
    return item, None if failure else future.result(), failure


def _is_sound(future: Future[R]) -> bool:
    return future.done() and not future.cancelled() and not isinstance(future.exception(), BrokenProcessPool)


@contextmanager
def _pool(count: int, module: str) -> Iterator[ProcessPoolExecutor]:
    """A pool whose waiting work is dropped when the block ends early.

    Its processes are forked from a server that has imported torch and the work's module and done nothing else. To
    import them costs seconds, which every process of every verb would spend, and memory, which so they share.
    """
    server = get_context("forkserver")
    server.set_forkserver_preload([*PRELOADED, module])
    with _no_interrupt():
        forkserver.ensure_running()
    pool = ProcessPoolExecutor(count, mp_context=server, initializer=_begin_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    import torch

    # Ctrl-C reaches every process of a terminal; a worker then ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    keep_freed_memory()


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and write into what is another's run by then."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes that are started in the block ignore Ctrl-C: the server of workers would print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def one_thread() -> Iterator[None]:
    """As in a worker: how a sum is shared among threads shows in its last bit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
