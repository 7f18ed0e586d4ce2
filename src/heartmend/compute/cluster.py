"""Work on many cases on many machines, by Dask: a replacement of the worker processes of this machine.

The workers read and write the files of a run themselves, on a disk that all machines share. Only file names and
settings are sent to them, no volumes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heartmend.compute.workers import CLUSTER_RUNNER, WorkResult, keep_freed_memory, one_thread
from heartmend.errors import ConfigError, HeartmendError, RunError
from heartmend.version import __version__

if TYPE_CHECKING:
    from distributed import Client

IN_FLIGHT = 1000
"""Limit for the cases that are submitted at a time: enough for any cluster, and few for the scheduler's memory."""
TIMEOUT_S = 30.0
"""Limit for the answer of a scheduler."""
_WORK_LOCK = threading.Lock()
log = logging.getLogger(__name__)


@contextmanager
def scheduled(where: str, jobs: int = 0) -> Iterator[None]:
    """Let `each` send its cases to a Dask cluster within the block.

    Args:
        where: the address of a scheduler (tcp://host:8786), the path of its scheduler file, or `slurm`; empty: no
            cluster.
        jobs: number of jobs that are submitted to the queue for `slurm`, by the table jobqueue.slurm of Dask's
            configuration. They are ended with the block.

    Yields:
        None.

    Raises:
        ConfigError: if Dask is not installed, no scheduler answers, or its workers have another version.
    """
    if not where:
        yield
        return
    with _client(where, jobs) as client:
        _check_versions(client)
        token = CLUSTER_RUNNER.set(lambda work, todo: _run_on_cluster(client, work, todo))
        try:
            yield
        finally:
            CLUSTER_RUNNER.reset(token)


@contextmanager
def _client(where: str, jobs: int) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(f"--scheduler {where}: needs Dask: pip install 'heartmend[cluster]'") from error
    if where == "slurm":
        with _slurm_cluster(jobs) as cluster, Client(cluster) as client:
            yield client
        return
    if where.endswith(".json") and not Path(where).is_file():
        raise ConfigError(f"--scheduler {where}: there is no such file; `dask scheduler --scheduler-file` writes it")
    address: dict[str, Any] = {"scheduler_file": where} if where.endswith(".json") else {"address": where}
    try:
        client = Client(**address, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--scheduler {where}: no Dask scheduler answers ({error}); start one with "
                          "`dask scheduler` and workers with `dask worker`") from error  # fmt: skip
    with client:
        yield client


def _slurm_cluster(jobs: int) -> Any:
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise ConfigError("--scheduler slurm: needs dask-jobqueue: pip install 'heartmend[cluster]'") from error
    if jobs < 1:
        raise ConfigError("--scheduler slurm: give --workers, the number of jobs to submit")
    try:
        cluster = SLURMCluster()
        cluster.scale(jobs=jobs)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"--scheduler slurm: {error}; see docs/how-to/cluster-and-gpus.md for the file with cores, memory, walltime"
        ) from error
    return cluster


def _check_versions(client: Client) -> None:
    if not client.scheduler_info()["workers"]:
        log.warning("waiting for the first worker of the cluster")
    client.wait_for_workers(1)
    others = {version for version in client.run(_version).values() if version != __version__}
    if others:
        raise ConfigError(f"the cluster's workers have Heartmend {', '.join(map(str, others))}, this machine has "
                          f"{__version__}; install the same version on all machines")  # fmt: skip


def _version() -> str:
    return __version__


def _run_on_cluster(client: Client, work: Callable[[Any], Any], todo: list[Any]) -> Iterator[WorkResult[Any, Any]]:
    """Yield outcomes in the order of completion. A case whose worker is lost is started again on another one."""
    from distributed.client import as_completed

    waiting, folder = iter(todo), Path.cwd()
    running: dict[Any, Any] = {}

    def submit(count: int) -> list[Any]:
        futures = []
        for item in islice(waiting, count):
            futures.append(client.submit(_run_on_worker, work, item, str(folder), pure=False))
            running[futures[-1].key] = item
        return futures

    done = as_completed(submit(IN_FLIGHT), loop=client.loop)
    try:
        for future in done:
            outcome = _outcome(running.pop(future.key), future)
            # So that its worker does not keep the result, which would be lost with the worker.
            future.release()
            done.update(submit(1))
            yield outcome
    finally:
        client.cancel(list(running), force=True)


def _run_on_worker(work: Callable[[Any], Any], item: Any, folder: str) -> Any:
    """Work as in a worker process: in the same folder, one case at a time and in one thread."""
    with _WORK_LOCK, one_thread():
        keep_freed_memory()
        os.chdir(folder)
        return work(item)


def _outcome(item: Any, future: Any) -> WorkResult[Any, Any]:
    from distributed import KilledWorker

    if future.status == "finished":
        return item, future.result(), None
    if future.status != "error":
        raise RunError("the Dask scheduler was lost; start it again and give the same command: finished cases are kept")
    failure = future.exception()
    if isinstance(failure, KilledWorker):
        return item, None, HeartmendError("every worker that started it was lost; perhaps their memory is not enough")
    if not isinstance(failure, Exception):
        raise failure
    return item, None, failure
