"""Export of a reviewed run as a data set. It is written completely or, when it is interrupted, not at all."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import HeartmendError, RunError
from heartmend.io.atomic import TEMPORARY_PREFIX, write_text
from heartmend.io.dataset import Case
from heartmend.io.file_names import real_path
from heartmend.release.case_files import write_case, write_for_correction
from heartmend.release.layouts import Layout, ReleaseNames, write_layouts
from heartmend.release.readme import release_readme
from heartmend.release.training import TrainingOptions, add_ignore_label, ignore_number, write_case_weights
from heartmend.review.case_cache import prepare_case
from heartmend.review.plan import CasePlan, ReleasePlan, Undecided, decisions_by_case, plan_case
from heartmend.run_folder.decision_records import Decision, now
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.decisions_table import decisions_to_csv
from heartmend.run_folder.finished import FinishedRun

DEFAULT_TRAINING = TrainingOptions()


@dataclass(frozen=True)
class _Job:
    finished: FinishedRun
    case: Case
    decisions: tuple[Decision, ...]
    undecided: Undecided
    layouts: frozenset[Layout]
    names: ReleaseNames
    training: TrainingOptions
    folder: Path


def export_release(
    finished: FinishedRun,
    folder: Path,
    layouts: frozenset[Layout],
    undecided: Undecided = "leave-out",
    training: TrainingOptions = DEFAULT_TRAINING,
    workers: int = 0,
    progress: Progress | None = None,
) -> ReleasePlan:
    """Write the data set of a reviewed run. A case that fails is left out.

    Args:
        finished: the run. Each case is prepared for review, where it is not, and written at once.
        folder: folder of the data set; it must not exist, or be empty.
        layouts: layouts besides labels/.
        undecided: what is done with open structures.
        training: options for the layouts that networks are trained with.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.

    Returns:
        The released cases, those to be corrected by hand, and those left out.

    Raises:
        RunError: if no case can be released, or the folder is not empty or inside a folder of the run.
    """
    _check_folder(finished, folder)
    progress = progress or NoProgress()
    decisions = open_decisions(finished)
    by_case = decisions_by_case(decisions.current())
    nothing = RunError(
        f"{finished.run.output}: none of its {len(finished.cohort)} cases is decided; review them with "
        "`heartmend review`, or give --undecided accept"
    )
    if undecided == "leave-out" and not by_case:
        raise nothing
    names = ReleaseNames.for_cases(finished.anatomy, _value_names(finished))
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    try:
        jobs = [
            _Job(
                finished, case, tuple(by_case.get(case.id, ())), undecided, layouts, names, training,
                building / TEMPORARY_PREFIX / str(n),
            )
            for n, case in enumerate(finished)
        ]  # fmt: skip
        plans, failed = list[CasePlan](), dict[str, str]()
        progress.start("export", len(jobs))
        for done, (job, case_plan, error) in enumerate(each(_write, jobs, workers), start=1):
            if case_plan is not None:
                plans.append(case_plan)
                _move_into(job.folder, building)
            else:
                failed[job.case.id] = str(error) or type(error).__name__
            progress.advance(done, job.case.id)
        order = {case.id: n for n, case in enumerate(finished)}
        plan = ReleasePlan.of(sorted(plans, key=lambda p: order[p.case.id]), finished.left_out | failed)
        if not plan.release and not plan.to_correct and not failed:
            raise nothing
        shutil.rmtree(building / TEMPORARY_PREFIX, ignore_errors=True)
        title = f"{finished.anatomy.title or finished.anatomy.name}: {finished.run.output.name}"
        case_ids = [p.case.id for p in plan.release]
        write_layouts(building, layouts, finished.anatomy, names, case_ids, title)
        if training.ignore_above is not None:
            write_case_weights(finished, case_ids, building)
            if "nnunet" in layouts:
                add_ignore_label(building / "nnunet" / names.nnunet / "dataset.json", ignore_number(finished.anatomy))
        write_text(building / "decisions.csv", decisions_to_csv(decisions.current()))
        readme = release_readme(title, plan, finished.anatomy, names, layouts, training, now())
        write_text(building / "README.md", readme)
        if folder.is_dir():
            folder.rmdir()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return plan


def _value_names(finished: FinishedRun) -> dict[str, dict[int, str]]:
    """Value -> name, by case; nothing for a file that is lost or damaged, which is reported when it is written."""
    found = {}
    for case in finished:
        try:
            found[case.id] = finished.cohort.value_names(case)
        except (HeartmendError, OSError):
            found[case.id] = {}
    return found


def _check_folder(finished: FinishedRun, folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: exists already; give another --output")
    inputs = [c.labels_path.parent for c in finished] + [c.image_path.parent for c in finished if c.image_path]
    for own in {real_path(finished.run.output), *map(real_path, inputs)}:
        if real_path(folder).is_relative_to(own):
            raise RunError(f"{folder}: inside {own}, which is not written to; give another --output")


def _write(job: _Job) -> CasePlan:
    """Prepare a case for review, where it is not, plan it, and write its files, unless something of it is open."""
    prepare_case(job.finished, job.case)
    plan = plan_case(job.finished, job.case, job.decisions, job.undecided)
    if plan.structures_with("open"):
        return plan
    if plan.structures_with("correct"):
        write_for_correction(job.finished, plan, job.folder)
    else:
        write_case(job.finished, plan, job.layouts, job.names, job.training, job.folder)
    return plan


def _move_into(staged: Path, building: Path) -> None:
    """Move the files of a case into the release after all of them are written."""
    for path in [p for p in staged.rglob("*") if p.is_file()]:
        target = building / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
