"""Decisions teach: what a reviewer has completed by hand is the truth from which the other cases are repaired again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heartmend.compute.progress import Progress
from heartmend.errors import RunError
from heartmend.io.atomic import atomic_folder
from heartmend.pipelines.refit import RefitRequest, refit
from heartmend.pipelines.result import Result
from heartmend.release.case_files import compose_case
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.review.plan import CasePlan, decisions_by_case, plan_release
from heartmend.review.states import CaseDecisions
from heartmend.review.summary import read_summary
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun


@dataclass(frozen=True)
class Lesson:
    """What a refit learns from, and what it leaves alone.

    Attributes:
        trusted: cases that were corrected by hand and are decided completely.
        kept: ids of all cases with a decision; their results stay as they are.
    """

    trusted: tuple[CasePlan, ...]
    kept: frozenset[str]


def lesson_of(finished: FinishedRun) -> Lesson:
    """Select the cases that a refit learns from.

    Args:
        finished: a run whose cases were made ready for review (`review.case_cache.make_ready`).

    Returns:
        The cases.

    Raises:
        RunError: if fewer than `MIN_TRUSTED` are corrected and decided.
    """
    decisions = open_decisions(finished)
    plan, by_case = plan_release(finished, decisions), decisions_by_case(decisions.current())
    trusted = tuple(p for p in plan.release if p.structures_with("corrected"))
    if len(trusted) < MIN_TRUSTED:
        unfinished = sum(any(d.choice == "corrected" for d in found) for found in by_case.values()) - len(trusted)
        more = f"; {unfinished} others are corrected and have open structures: decide them" if unfinished > 0 else ""
        raise RunError(
            f"{finished.run.output}: {len(trusted)} cases are corrected by hand and decided; a refit needs "
            f"{MIN_TRUSTED}. Correct more on the review page or with `heartmend import`{more}"
        )
    kept = set()
    for case in finished:
        found = by_case.get(case.id, [])
        if not found or not finished.run.has_review_case(case.id):
            continue
        if any(d.choice != "open" for d in CaseDecisions.of(read_summary(finished, case), found).valid):
            kept.add(case.id)
    return Lesson(trusted, frozenset(kept))


def teach(
    finished: FinishedRun, device: str = "auto", workers: int = 0, images: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Lesson, Result]:  # fmt: skip
    """Repair the undecided cases of a run again, from those that were corrected by hand.

    Args:
        finished: a run whose cases were made ready for review.
        device: for the fits, as of `run`.
        workers: worker processes; 0: one per CPU core.
        images: the input folder of CTs, where it was moved.
        progress: receiver of progress reports.

    Returns:
        What was learned from, and the result of the run.

    Raises:
        RunError: if too few cases are corrected, or the run cannot be continued.
    """
    lesson = lesson_of(finished)
    folder = finished.run.trusted_dir
    with atomic_folder(folder) as building:
        for plan in lesson.trusted:
            composed = compose_case(finished, plan)
            path = building / plan.case.labels_path.name
            finished.cohort.write_labels(plan.case, composed.labels, path, composed.unknown)
    request = RefitRequest(finished.run.output, folder, lesson.kept, finished.labels_dir, images, device, workers)
    return lesson, refit(request, progress)
