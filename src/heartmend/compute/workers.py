"""Worker processes: one function applied to many cases; a case that fails never stops the others."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from multiprocessing import connection, forkserver, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from heartmend.compute.main_module import without_main_module
from heartmend.compute.process_lifetime import end_with_parent
from heartmend.errors import HeartmendError

T = TypeVar("T")
R = TypeVar("R")

WorkResult = tuple[T, R | None, Exception | None]
"""An item, the result, and the error if there was one."""
Runner = Callable[[Callable[[Any], Any], list[Any]], Iterator[WorkResult[Any, Any]]]
CLUSTER_RUNNER: ContextVar[Runner | None] = ContextVar("CLUSTER_RUNNER", default=None)
"""Function that applies the work on a cluster instead of worker processes; set while a cluster is in use."""
TERMINATED = 143
"""Exit status of a process that SIGTERM ended."""
GRACE_S = 1.0
"""Time for workers to remove their temporary files after SIGTERM, before SIGKILL."""
_POOLS: set[ProcessPoolExecutor] = set()


def each(
    work: Callable[[T], R], items: Iterable[T], workers: int = 0, *, local: bool = False
) -> Iterator[WorkResult[T, R]]:
    """Apply a function to every item, on worker processes or on the cluster in use.

    The result of an item does not depend on the number of workers, because each uses one thread. An item whose process
    is killed, for example for lack of memory, is tried once more without others beside it, then yielded with an error.

    Args:
        work: a function at the top level of a module.
        items: its arguments; they are pickled.
        workers: number of worker processes; 0: one per CPU core; 1: all in this process.
        local: never on a cluster, for results that are too large to be sent.

    Yields:
        The item, its result and its error, in the order of completion. One of result and error is None.

    Example:
        >>> [(item, result) for item, result, error in each(abs, [-1, 2], workers=1)]
        [(-1, 1), (2, 2)]
    """
    todo = list(items)
    if (runner := CLUSTER_RUNNER.get()) is not None and not local:
        yield from runner(work, todo)
        return
    count = min(workers or available_cores(), len(todo))
    if count > 1:
        yield from _run_on_processes(work, todo, count)
        return
    for item in todo:
        try:
            with one_thread():
                result = work(item)
        except Exception as error:  # noqa: BLE001  (yielded to the caller, who reports it)
            yield item, None, error
        else:
            yield item, result, None


def available_cores() -> int:
    """Return the number of CPU cores that this process may use.

    Returns:
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, because a fit allocates the same large arrays in every step.

    Otherwise page faults take half of the time.
    """
    _set_malloc(mmap_threshold=1 << 30, trim_threshold=1 << 31 - 1)


def return_freed_memory() -> None:
    """Let glibc return the memory of freed arrays at once.

    Otherwise that of the samples of a large cohort stays beside the points that were made of them.
    """
    _set_malloc(mmap_threshold=1 << 17, trim_threshold=1 << 17)


def _set_malloc(mmap_threshold: int, trim_threshold: int) -> None:
    """Set the sizes in bytes from which memory is mapped for itself, and returned; without glibc nothing happens."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, mmap_threshold)
        libc.mallopt(-1, trim_threshold)
    except (OSError, AttributeError):
        return


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, as in a worker: the last bit of a sum depends on the number of threads.

    Where nothing has imported torch, nothing needs it: its import would take seconds.

    Yields:
        None.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def end_workers() -> None:
    """End all worker processes of this process, with their current work."""
    for pool in tuple(_POOLS):
        _end(_processes(pool))


# At exit Python waits for the current work of all pools; this is called before, since it is registered later. There is
# no public function for it: those of `atexit` are called after the wait.
threading._register_atexit(end_workers)  # type: ignore[attr-defined]


def _run_on_processes(work: Callable[[T], R], todo: list[T], count: int) -> Iterator[WorkResult[T, R]]:
    """At most `count` items are submitted at a time: when a process is killed, only these can be the reason."""
    waiting = list(reversed(todo))
    while waiting:
        running: dict[Future[R], T] = {}
        with _pool(count, _module_of(work)) as pool:
            while _submit(pool, work, waiting, running, count) and running:
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
                yield _run_on_own_process(work, item)


def _module_of(work: Callable[..., Any]) -> str:
    """Module of a function, also where some of its arguments are given: a partial is of functools itself."""
    while isinstance(work, partial):
        work = work.func
    return work.__module__


def _submit(
    pool: ProcessPoolExecutor, work: Callable[[T], R], waiting: list[T], running: dict[Future[R], T], count: int
) -> bool:
    """Keep `count` items running while there are any; False when the pool takes no more, because a process died."""
    while waiting and len(running) < count:
        try:
            with without_main_module(_module_of(work)):
                future = pool.submit(_work_in_worker, work, waiting[-1])
        except BrokenProcessPool:
            return False
        running[future] = waiting.pop()
    return True


def _run_on_own_process(work: Callable[[T], R], item: T) -> WorkResult[T, R]:
    with _pool(1, _module_of(work)) as pool:
        with without_main_module(_module_of(work)):
            future = pool.submit(_work_in_worker, work, item)
        wait([future])
        if _is_sound(future):
            return _outcome(item, future)
    killed = "the process that worked on it was killed twice; perhaps the memory was not enough"
    return item, None, HeartmendError(f"{killed}: give fewer --workers, or crop the volume")


def _outcome(item: T, future: Future[R]) -> WorkResult[T, R]:
    failure = future.exception()
    if failure is not None and not isinstance(failure, Exception):
        raise failure
    return item, None if failure else future.result(), failure


def _is_sound(future: Future[R]) -> bool:
    return future.done() and not future.cancelled() and not isinstance(future.exception(), BrokenProcessPool)


@contextmanager
def _pool(count: int, module: str) -> Iterator[ProcessPoolExecutor]:
    """Provide a pool of worker processes; they are ended when the block ends with an exception.

    The workers are forked from a server that has imported the module of the work. With torch the import takes seconds
    and memory, which the workers share.
    """
    context = get_context("forkserver")
    modules = [module]
    # The kernel ends the server with the thread that started it, which may be short-lived if it is not the main one.
    if threading.current_thread() is threading.main_thread():
        modules.insert(0, "heartmend.compute.fork_server")
    context.set_forkserver_preload(modules)
    _start_server()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    _POOLS.add(pool)
    try:
        yield pool
    except BaseException:
        _end(_processes(pool))
        raise
    finally:
        # Only the workers of a pool in which a process died are still to be ended.
        if getattr(pool, "_broken", False):
            _end(_processes(pool))
        pool.shutdown(wait=True, cancel_futures=True)
        _POOLS.discard(pool)


def _start_server() -> None:
    """Start the server of the workers with signals blocked, so that Ctrl-C prints no traceback of it."""
    # Started first, because its start unblocks these signals.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _processes(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    """Processes of a pool, for which Python before 3.14 has no public interface."""
    return list((getattr(pool, "_processes", None) or {}).values())


def _end(processes: list[BaseProcess]) -> None:
    """End processes: by SIGTERM, then by SIGKILL those that are in the middle of a long operation."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    running = {process.sentinel: process for process in processes}
    while running and (left := deadline - time.monotonic()) > 0:
        for sentinel in connection.wait(list(running), left):
            del running[sentinel]  # type: ignore[arg-type]
    for process in running.values():
        process.kill()


def _start_worker() -> None:
    end_with_main_process()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    # For work that imports torch later.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    keep_freed_memory()


def end_with_main_process() -> None:
    """End this worker when the process that started it ends, or by SIGTERM; ignore Ctrl-C, after which it is ended."""
    end_with_parent()
    # Where the kernel cannot do it, or the server was started by another thread than the main one.
    threading.Thread(target=_exit_after_main_process, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])


def _exit_after_main_process() -> None:
    main_process = parent_process()
    if main_process is not None:
        connection.wait([main_process.sentinel])
        os._exit(1)


def _exit_on_signal(*_: object) -> None:
    """Exit by an exception within work, so that temporary files are removed, otherwise at once."""
    if _State.is_working:
        raise SystemExit(TERMINATED)
    os._exit(TERMINATED)


class _State:
    """State of this worker."""

    is_working = False


def _work_in_worker(work: Callable[[T], R], item: T) -> R:
    try:
        _State.is_working = True
        return work(item)
    except SystemExit:
        # The pool would send it to the main process and wait for more work.
        os._exit(TERMINATED)
    finally:
        _State.is_working = False
