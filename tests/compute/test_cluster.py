"""Cases on a Dask cluster: each is processed once, also if a worker is killed in the middle of its work."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from distributed import KilledWorker, LocalCluster

from heartmend.compute import cluster
from heartmend.compute.cluster import scheduled
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, ConfigError, HeartmendError, RunError
from support import worker_tasks

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Dask cluster of two workers in processes of their own; returns the address of its scheduler."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(TESTS)
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp") as cluster,
    ):
        yield cluster.scheduler_address
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_each_case_is_processed_once_if_a_worker_is_killed(scheduler: str, tmp_path: Path) -> None:
    """Case 5 kills its worker at the first attempt, which also loses the results that were not sent yet: these cases
    are started again, and skip what is done, as the stages do."""
    cases = [worker_tasks.RecordedCase(tmp_path, number, kills=number == 5) for number in range(12)]
    with scheduled(scheduler):
        outcomes = list(each(worker_tasks.record, cases))
    assert sorted(case.number for case, _, _ in outcomes) == list(range(12))
    assert all(error is None and result == case.number**2 for case, result, error in outcomes)
    done = [path.read_text().split() for path in sorted(tmp_path.glob("*.txt"))]
    assert len(done) == 12
    assert all(len(times) == 1 for times in done)
    # A worker has another current folder; relative paths of a case are those of the main process.
    assert {folder for (folder,) in done} == {str(Path.cwd())}


def test_an_error_is_yielded_with_its_case(scheduler: str) -> None:
    with scheduled(scheduler):
        outcomes = {item: (result, error) for item, result, error in each(worker_tasks.square, [2, -1, 3])}
    assert outcomes[2] == (4, None) and outcomes[3] == (9, None)
    assert isinstance(outcomes[-1][1], BadInputError)


def test_only_the_case_that_kills_every_worker_has_an_error() -> None:
    killed = SimpleNamespace(status="error", exception=lambda: KilledWorker.__new__(KilledWorker))
    item, result, error = cluster._outcome(13, killed)
    assert (item, result) == (13, None)
    assert isinstance(error, HeartmendError) and "every worker that started it was lost" in str(error)
    with pytest.raises(RunError, match="the Dask scheduler was lost"):
        cluster._outcome(13, SimpleNamespace(status="cancelled"))


def test_local_work_is_not_sent_to_the_cluster(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_run_on_cluster", lambda *_: pytest.fail("the work was sent to the cluster"))
    with scheduled(scheduler):
        assert [result for _, result, _ in each(worker_tasks.square, [2], 1, local=True)] == [4]


def test_the_number_of_submitted_cases_is_limited(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "IN_FLIGHT", 2)
    with scheduled(scheduler):
        outcomes = each(worker_tasks.square, range(20, 40))
        first = next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        assert first[1] == first[0] ** 2
        assert sorted(result for _, result, _ in each(worker_tasks.square, range(7))) == [n * n for n in range(7)]


def test_without_a_scheduler_work_is_done_on_this_machine() -> None:
    with scheduled(""):
        assert [result for _, result, _ in each(worker_tasks.square, [3], 1)] == [9]


def test_a_scheduler_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.2)
    with (
        pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"),
        scheduled("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ConfigError, match=r"none\.json: there is no such file"), scheduled(str(tmp_path / "none.json")):
        pass
    with pytest.raises(ConfigError, match="give --workers, the number of jobs"), scheduled("slurm"):
        pass
