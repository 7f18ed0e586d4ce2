"""Contexts for stages, and prepared cases in a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.process_group import ProcessGroup
from heartmend.compute.progress import NoProgress, Progress, as_progress
from heartmend.compute.resources import Compute
from heartmend.io.dataset import Case, Cohort
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import PREPARE
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import Context, Outcome, RunPlan, Stage


def store(run: RunFolder, *cases: PreparedCase) -> None:
    """Write prepared cases as `prepare` does."""
    for case in cases:
        files = run.write_prepared(case)
        run.finish(PREPARE, case.case_id, "", files)


def named_cases(ids: Iterable[str]) -> list[Case]:
    """Make cases without files."""
    return [Case(id, Path(f"{id}.nii.gz")) for id in ids]


def run_stage(
    stage: Stage[Any], run: RunFolder, config: Any, cases: Sequence[Case] | Cohort, plan: RunPlan,
    progress: Progress | Callable[..., None] | None = None, group: ProcessGroup | None = None,
) -> list[Outcome]:  # fmt: skip
    """Run a stage to its end, with one worker; returns its outcomes."""
    cohort = cases if isinstance(cases, Cohort) else Cohort(tuple(cases), load_anatomy("heart"))
    reports = NoProgress() if progress is None else as_progress(progress)
    compute = Compute(workers=1, group=group or ProcessGroup())
    return list(stage(Context(run, cohort, config, plan, compute, reports), list(cohort)))


def no_error(outcomes: Iterable[Outcome]) -> bool:
    """Whether no outcome has an error."""
    return all(outcome.error is None for outcome in outcomes)
