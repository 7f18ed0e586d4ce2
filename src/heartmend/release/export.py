"""A reviewed run as a data set to release: all of it, or, when it is stopped, nothing."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from heartmend.compute.workers import each
from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX, write_text
from heartmend.release.case_files import write_case, write_for_correction
from heartmend.release.compose import Plan
from heartmend.release.layouts import Layout, Names, write_layouts
from heartmend.release.plan import Plans, Undecided, plan_release
from heartmend.release.readme import release_readme
from heartmend.run_folder.decisions import decisions_of, now
from heartmend.run_folder.decisions_table import decisions_to_csv
from heartmend.run_folder.finished import FinishedRun


@dataclass(frozen=True)
class _Job:
    subject: FinishedRun
    plan: Plan
    layouts: frozenset[Layout]
    names: Names
    images: bool
    to: Path


def export_release(
    subject: FinishedRun, to: Path, layouts: frozenset[Layout], undecided: Undecided = "leave-out", images: bool = False,
    workers: int = 0, progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plans:  # fmt: skip
    """Write the data set of a run by its decisions into the folder `to`, which is not there yet or empty.

    A case that fails is left out and told. Returns what became of each case. Raises RunError when nothing can be
    released and when `to` holds something or lies in the run's folders.
    """
    _refuse(subject, to)
    decisions = decisions_of(subject)
    plans = plan_release(subject, decisions, undecided)
    if not plans.release and not plans.manual:
        raise RunError(
            f"{subject.run.out}: none of its {len(subject.cohort)} cases is decided; decide with `heartmend review`, "
            "or give --undecided accept"
        )
    names = Names.of(subject.anatomy, (p.case.id for p in plans.release))
    to.parent.mkdir(parents=True, exist_ok=True)
    building = to.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    try:
        jobs = [
            _Job(subject, plan, layouts, names, images, building / TEMPORARY_PREFIX / str(n))
            for n, plan in enumerate((*plans.release, *plans.manual))
        ]
        failed = {}
        for done, (job, _, error) in enumerate(each(_work, jobs, workers), start=1):
            if error is not None:
                failed[job.plan.case.id] = str(error) or type(error).__name__
            else:
                _move_into(job.to, building)
            progress(done, len(jobs))
        plans = _without(plans, failed)
        shutil.rmtree(building / TEMPORARY_PREFIX, ignore_errors=True)
        title = f"{subject.anatomy.title or subject.anatomy.name}: {subject.run.out.name}"
        ids = [p.case.id for p in plans.release]
        write_layouts(building, layouts, subject.anatomy, names, ids, title)
        write_text(building / "decisions.csv", decisions_to_csv(decisions.current()))
        readme = release_readme(title, plans, subject.anatomy, names, layouts, images, now())
        write_text(building / "README.md", readme)
        if to.is_dir():
            to.rmdir()
        building.rename(to)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return plans


def _refuse(subject: FinishedRun, to: Path) -> None:
    target = to.resolve()
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RunError(f"{to}: is there already; give another --to")
    inputs = [c.labels_path.parent for c in subject] + [c.image_path.parent for c in subject if c.image_path]
    for folder in {subject.run.out.resolve(), *(p.resolve() for p in inputs)}:
        if target.is_relative_to(folder):
            raise RunError(f"{to}: lies in {folder}, which is not written to; give another --to")


def _work(job: _Job) -> None:
    if job.plan.having("manual"):
        write_for_correction(job.subject, job.plan, job.to)
    else:
        write_case(job.subject, job.plan, job.layouts, job.names, job.images, job.to)


def _move_into(staged: Path, building: Path) -> None:
    """A case's files appear in the release together, when all of them are whole."""
    for path in [p for p in staged.rglob("*") if p.is_file()]:
        target = building / path.relative_to(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _without(plans: Plans, failed: dict[str, str]) -> Plans:
    kept = {name: tuple(p for p in getattr(plans, name) if p.case.id not in failed) for name in ("release", "manual")}
    return replace(plans, **kept, left_out=plans.left_out | failed)
