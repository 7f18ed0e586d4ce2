"""Tests of the process group: two processes fit as one does; one that dies ends the fit, which can be continued."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heartmend.compute import process_group as team
from heartmend.compute.process_group import ProcessGroup, process_group
from heartmend.compute.ranks import Ranks
from heartmend.errors import ConfigError, FitError
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Plan
from heartmend.stages.fit import FitSettings, fit
from heartmend.training.checkpoint import read_metadata
from heartmend.training.schedule import Phase
from support import process_group_tasks
from support.hearts import HEADS, small_hearts
from support.stages import named_cases, run_stage, store

TOLERANCE = 2e-3
"""Of weights in mm and codes in units of the frame, between one process and two: the sums have another order."""
SETTINGS = FitSettings(
    phases=(
        Phase(steps=20, code_lr=0.01, shape_lr=0.1, side=12, controls=5, tolerance_mm=3.0),
        Phase(steps=20, code_lr=0.006, shape_lr=0.05, side=16, controls=6),
    ),
    points=200, cases_per_step=2, min_epochs=0, checkpoint_seconds=0,
)  # fmt: skip
IDS = ["001", "002", "003"]


def test_two_processes_fit_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told: dict[int, list[Any]] = {1: [], 2: []}
    found = {}
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        say = lambda *what, count=count: told[count].append(what)  # noqa: E731
        found[count] = ProcessGroup("cpu", count).call(process_group_tasks.fit_small, tmp_path / str(count), say)
    one, two = found[1], found[2]
    assert one.keys() == two.keys() and len(one) > 20
    for name, value in one.items():
        apart = np.abs(value - two[name])
        # Where a detail's gradient is rounding alone, Adam makes a step of it all the same.
        most = process_group_tasks.DETAILS.code_lr if name == "unified detail" else TOLERANCE
        assert bool(apart.max() < most and apart.mean() < TOLERANCE / 10), (name, apart.max(), apart.mean())
    assert len(told[1]) == len(told[2]) == 5
    for (step, loss, dice), (other_step, other_loss, other_dice) in zip(*told.values(), strict=True):
        assert step == other_step
        assert loss == pytest.approx(other_loss, abs=1e-4)
        assert dice == pytest.approx(other_dice, abs=0.02)
    # The checkpoint is of all cases, whatever the number of processes.
    for name in ("template", "unified"):
        heads = [read_metadata(tmp_path / str(count) / f"{name}.safetensors") for count in (1, 2)]
        assert heads[0] == heads[1]
        assert heads[0]["ids"] == [case.case_id for case in small_hearts(process_group_tasks.CASES)]


class Deadly(ProcessGroup):
    """A team of which the last process is killed at a step."""

    def call(self, work: team.Work, job: Any, tell: Callable[..., None] | None = None) -> Any:
        return super().call(partial(process_group_tasks.die_at, 25, work), job, tell)


def test_a_process_that_dies_ends_the_fit_and_the_checkpoint_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "labels").mkdir()
    models, steps, plan = {}, list[int](), Plan(shaped=HEADS)

    def report(task: str, done: int, total: int, note: str) -> None:
        if done:
            steps.append(done)

    for out in ("whole", "cut"):
        with RunFolder.open(tmp_path / out, tmp_path / "labels") as run:
            store(run, *small_hearts(3))
            if out == "cut":
                with pytest.raises(FitError, match=r"process \d .* of 2 of the fit; .* give the same command again"):
                    run_stage(fit, run, SETTINGS, named_cases(IDS), plan, group=Deadly("cpu", 2))
                assert not run.has_fitted()
                # Of step 20, the end of the first phase; the one that died had started step 26.
                checkpoint = run.training_files("fit").checkpoint
                assert read_metadata(checkpoint)["position"] == {"phase": 1, "step": 0, "points": 200}
            run_stage(fit, run, SETTINGS, named_cases(IDS), plan, report)
            models[out] = run.fitted()
    assert steps == [10, 20, 30, 40, 30, 40]
    (shape, codes), (other, other_codes) = models.values()
    for name, value in shape.state_dict().items():
        assert (value - other.state_dict()[name]).abs().max() < TOLERANCE
    for name, code in codes.values.items():
        assert (code - other_codes.values[name]).abs().max() < TOLERANCE


def test_more_devices_than_there_is_sense_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="4 devices are more than the 3 cases"):
        ProcessGroup("cpu", 4).refuse_more_than(3)
    with pytest.raises(ConfigError, match="--devices 0: give 1 or more"), process_group("cpu", 0):
        pass
    with pytest.raises(ConfigError, match="cuda:1 is one device"), process_group("cuda:1", 2):
        pass
    with pytest.raises(ConfigError, match="this machine has 0 GPUs"), process_group("cuda", 2):
        pass


@pytest.mark.parametrize(
    ("variables", "begun"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, (4, 2)),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0"}, (4, 2)),
        ({"SLURM_NTASKS": "8", "SLURM_NNODES": "2"}, None),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}, None),
    ],
)
def test_who_began_the_processes(
    variables: dict[str, str], begun: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert team._begun_outside() == begun


def test_every_process_has_its_own_cases() -> None:
    cases = list("abcdefg")
    shares = [Ranks(rank, 3).own(cases) for rank in range(3)]
    assert shares == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
