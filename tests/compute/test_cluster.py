"""Cases on a Dask cluster: every one done once, none lost, though a worker is killed in the middle of its work."""

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
    """Two workers in processes of their own, which find this folder's modules but lie in another folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(TESTS)
    settings = {
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": 1,
    }  # fmt: skip
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp") as here,
    ):
        yield here.scheduler_address
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_every_case_is_done_once_though_a_worker_is_killed(scheduler: str, tmp_path: Path) -> None:
    """Case 5 kills its worker when it is first begun, and with it what that worker had not handed over yet: the case is
    begun again, and those that were done are found to be done, as the verbs find their own."""
    cases = [worker_tasks.RecordedCase(tmp_path, number, kills=number == 5) for number in range(12)]
    with scheduled(scheduler):
        outcomes = list(each(worker_tasks.record, cases))
    assert sorted(case.number for case, _, _ in outcomes) == list(range(12))
    assert all(error is None and result == case.number**2 for case, result, error in outcomes)
    done = [path.read_text().split() for path in sorted(tmp_path.glob("*.txt"))]
    assert len(done) == 12
    assert all(len(times) == 1 for times in done)
    # A worker's folder is its own; a case finds the files of the one who asked.
    assert {where for (where,) in done} == {str(Path.cwd())}


def test_an_error_is_yielded_with_its_case(scheduler: str) -> None:
    with scheduled(scheduler):
        found = {item: (result, error) for item, result, error in each(worker_tasks.square, [2, -1, 3])}
    assert found[2] == (4, None) and found[3] == (9, None)
    assert isinstance(found[-1][1], BadInputError)


def test_a_case_that_kills_every_worker_costs_itself_alone() -> None:
    killed = SimpleNamespace(status="error", exception=lambda: KilledWorker.__new__(KilledWorker))
    item, result, error = cluster._outcome(13, killed)
    assert (item, result) == (13, None)
    assert isinstance(error, HeartmendError) and "every worker that began it was lost" in str(error)
    with pytest.raises(RunError, match="the Dask scheduler is gone"):
        cluster._outcome(13, SimpleNamespace(status="cancelled"))


def test_what_is_too_much_to_travel_stays_here(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_on", lambda *_: pytest.fail("it travelled"))
    with scheduled(scheduler):
        assert [result for _, result, _ in each(worker_tasks.square, [2], 1, local=True)] == [4]


def test_no_more_cases_than_asked_for_are_with_the_scheduler(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "IN_FLIGHT", 2)
    with scheduled(scheduler):
        outcomes = each(worker_tasks.square, range(20, 40))
        first = next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        assert first[1] == first[0] ** 2
        assert sorted(result for _, result, _ in each(worker_tasks.square, range(7))) == [n * n for n in range(7)]


def test_without_a_scheduler_nothing_changes() -> None:
    with scheduled(""):
        assert [result for _, result, _ in each(worker_tasks.square, [3], 1)] == [9]


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.2)
    with (
        pytest.raises(ConfigError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers"),
        scheduled("tcp://127.0.0.1:9"),
    ):
        pass
    with pytest.raises(ConfigError, match=r"none\.json: there is no such file"), scheduled(str(tmp_path / "none.json")):
        pass
    with pytest.raises(ConfigError, match="give --workers, how many jobs"), scheduled("slurm"):
        pass
