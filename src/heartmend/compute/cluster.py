"""The work of many cases on many machines, by Dask: what `each` does on processes here, done by workers anywhere.

Workers read and write the files of a run themselves, on a disk that all machines share; only the names of files and
settings travel, never a volume.
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

from heartmend.compute.workers import CLUSTER_RUNNER, Outcome, keep_freed_memory, one_thread
from heartmend.errors import ConfigError, HeartmendError, RunError
from heartmend.version import __version__

if TYPE_CHECKING:
    from distributed import Client

IN_FLIGHT = 1000
"""So many cases are handed to the scheduler at a time: enough for any cluster, and few for its memory."""
PATIENCE_S = 30.0
"""How long a scheduler has to answer."""
_AT_WORK = threading.Lock()
log = logging.getLogger(__name__)


@contextmanager
def scheduled(where: str, jobs: int = 0) -> Iterator[None]:
    """Within the block `each` hands its cases to a Dask cluster; with an empty `where` it does not.

    where: the address of a scheduler (tcp://host:8786), the path of its scheduler file, or `slurm`: then so many
    `jobs` are sent to the queue, as the table jobqueue.slurm of Dask's own configuration says, and ended with the
    block. Raises ConfigError when Dask is not installed, no scheduler answers, or its workers are of another version.
    """
    if not where:
        yield
        return
    with _client(where, jobs) as client:
        _refuse_other_versions(client)
        token = CLUSTER_RUNNER.set(lambda work, todo: _on(client, work, todo))
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
        with _slurm(jobs) as cluster, Client(cluster) as client:
            yield client
        return
    if where.endswith(".json") and not Path(where).is_file():
        raise ConfigError(f"--scheduler {where}: there is no such file; `dask scheduler --scheduler-file` writes it")
    given: dict[str, Any] = {"scheduler_file": where} if where.endswith(".json") else {"address": where}
    try:
        client = Client(**given, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--scheduler {where}: no Dask scheduler answers there ({error}); begin one with "
                          "`dask scheduler` and workers with `dask worker`") from error  # fmt: skip
    with client:
        yield client


def _slurm(jobs: int) -> Any:
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise ConfigError("--scheduler slurm: needs dask-jobqueue: pip install 'heartmend[cluster]'") from error
    if jobs < 1:
        raise ConfigError("--scheduler slurm: give --workers, how many jobs to send to the queue")
    try:
        cluster = SLURMCluster()
        cluster.scale(jobs=jobs)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(
            f"--scheduler slurm: {error}; see docs/scale.md for the file with cores, memory, walltime"
        ) from error
    return cluster


def _refuse_other_versions(client: Client) -> None:
    if not client.scheduler_info()["workers"]:
        log.warning("waiting for the first worker of the cluster")
    client.wait_for_workers(1)
    others = {version for version in client.run(_version).values() if version != __version__}
    if others:
        raise ConfigError(f"the cluster's workers have Heartmend {', '.join(map(str, others))}, here is {__version__}; "
                          "install the same on all machines")  # fmt: skip


def _version() -> str:
    return __version__


def _on(client: Client, work: Callable[[Any], Any], todo: list[Any]) -> Iterator[Outcome[Any, Any]]:
    """Each outcome as it comes. A case whose worker is lost is begun again on another one, by the scheduler."""
    from distributed.client import as_completed

    waiting, here = iter(todo), Path.cwd()
    running: dict[Any, Any] = {}

    def more(count: int) -> list[Any]:
        futures = []
        for item in islice(waiting, count):
            futures.append(client.submit(_there, work, item, str(here), pure=False))
            running[futures[-1].key] = item
        return futures

    done = as_completed(more(IN_FLIGHT), loop=client.loop)
    try:
        for future in done:
            outcome = _outcome(running.pop(future.key), future)
            # What a finished case came to is not kept on its worker, with which it could be lost.
            future.release()
            done.update(more(1))
            yield outcome
    finally:
        client.cancel(list(running), force=True)


def _there(work: Callable[[Any], Any], item: Any, folder: str) -> Any:
    """On a worker: as in a process here, in the same folder, one case at a time and in one thread."""
    with _AT_WORK, one_thread():
        keep_freed_memory()
        os.chdir(folder)
        return work(item)


def _outcome(item: Any, future: Any) -> Outcome[Any, Any]:
    from distributed import KilledWorker

    if future.status == "finished":
        return item, future.result(), None
    if future.status != "error":
        raise RunError("the Dask scheduler is gone; begin it again and give the same command: what is done is kept")
    failure = future.exception()
    if isinstance(failure, KilledWorker):
        return item, None, HeartmendError("every worker that began it was lost; it may want more memory than they have")
    if not isinstance(failure, Exception):
        raise failure
    return item, None, failure
