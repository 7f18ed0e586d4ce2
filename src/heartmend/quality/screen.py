"""Screening of a data set: ranking of its labels by their expected error, before any repair."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.geometry.surface_noise import MIN_CASES
from heartmend.io.dataset import Case, Cohort
from heartmend.models.lattice import evaluate_case
from heartmend.pipelines.config import Config
from heartmend.pipelines.run import Request, StageName, run
from heartmend.quality.error_indicators import ErrorIndicators, case_indicators
from heartmend.quality.ranking import Ranking, rank
from heartmend.repair.unusual_anatomy import MIRRORED, pose_remark
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.records import CohortStatistics
from heartmend.stages.refine import is_mirrored


def screen_labels(request: Request, config: Config, quick: bool = False, progress: Progress | None = None) -> Ranking:
    """Rank the structures and cases of a data set by their expected label error.

    The cases are prepared and, unless `quick`, a shape is fitted to them. A later run in the same output folder with
    the same settings continues from there. With CTs or trusted label maps, the errors that all cases share are measured
    too.

    Args:
        request: the data set and the output folder.
        config: settings of the run.
        quick: whether to skip the fit and check each label map by itself.
        progress: receiver of progress reports.

    Returns:
        The ranking.

    Raises:
        HeartmendError: if no case could be used.
    """
    compares = request.images is not None or request.trusted is not None
    last: StageName = "prepare" if quick else "correct" if compares else "fit"
    result = run(replace(request, stop_after=last), config, progress)
    return screen_run(result.output, quick, request.workers, progress)


def screen_in_temporary_folder(
    request: Request, config: Config, quick: bool = False, progress: Progress | None = None
) -> Ranking:
    """Rank labels as `screen_labels` does, in a temporary folder that is deleted afterwards.

    Args:
        request: the data set; its output folder is not used.
        config: settings of the run.
        quick: whether to skip the fit and check each label map by itself.
        progress: receiver of progress reports.

    Returns:
        The ranking.

    Raises:
        HeartmendError: if no case could be used.
    """
    with TemporaryDirectory(prefix="heartmend-screen-") as folder:
        return screen_labels(replace(request, output=Path(folder) / "run"), config, quick, progress)


def screen_run(output: Path, quick: bool = False, workers: int = 0, progress: Progress | None = None) -> Ranking:
    """Rank the input labels of a run, using its prepared cases and its fit. The run is not changed.

    Args:
        output: OUT of the run.
        quick: whether to ignore the fitted shape.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.

    Returns:
        The ranking.

    Raises:
        RunError: if there is no run, or its records cannot be read.
    """
    progress, folder = progress or NoProgress(), RunFolder.at(output)
    cohort, skipped = folder.cohort(), folder.skipped()
    ready = [case for case in cohort if case.id not in skipped]
    # With fewer cases the fitted shapes reproduce the errors of the labels.
    with_shapes = not quick and len(ready) >= MIN_CASES and folder.has_fitted()
    statistics = folder.statistics(case.id for case in ready)
    jobs = [_Job(folder.output, cohort, case, with_shapes, statistics) for case in ready]
    progress.start("screen", len(jobs))
    found: list[ErrorIndicators] = []
    for done, (job, indicators, error) in enumerate(each(_measure, jobs, workers), start=1):
        if indicators is None:
            skipped[job.case.id] = str(error) or type(error).__name__
        else:
            found += indicators
        progress.advance(done, job.case.id)
    ranking = rank(found, cohort.anatomy, with_shapes, skipped)
    return replace(ranking, shared_errors=folder.shared_errors())


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    with_shapes: bool
    statistics: CohortStatistics


def _measure(job: _Job) -> list[ErrorIndicators]:
    run = RunFolder.at(job.output)
    case, distances = run.prepared(job.case.id), None
    if job.with_shapes:
        shape, codes = run.fitted_once()
        # The weight of a shape cannot be estimated where its values are no distances.
        distances = evaluate_case(shape, codes, case.case_id, case.roi) if shape.is_distance else None
        if is_mirrored(codes.of([case.case_id])):
            remark = pose_remark(MIRRORED, case.roi.source_box(), case.roi.grid)
            case = replace(case, facts=replace(case.facts, changes=(*case.facts.changes, remark)))
    if unusual := job.statistics.unusual_sizes.get(case.case_id, ()):
        case = replace(case, facts=replace(case.facts, changes=(*case.facts.changes, *unusual)))
    original = np.ascontiguousarray(job.cohort.read_labels(job.case).labels)
    return case_indicators(original, case, job.cohort.anatomy, distances, job.statistics)
