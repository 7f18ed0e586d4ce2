"""Review files of the cases: summary, label maps and surfaces, written once into OUT/run/review."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import BadInputError
from heartmend.io.dataset import Case
from heartmend.io.digests import compute_fingerprint
from heartmend.io.forms.open import open_label_map
from heartmend.review.page_data import Crop, image_file, pack_maps, pack_surfaces
from heartmend.review.summary import read_summary, summarise_case
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.paths import REVIEW

FORMAT_VERSION = 2
"""Version of the review files; raised whenever their content changes."""


@dataclass(frozen=True)
class _Job:
    finished: FinishedRun
    case: Case
    fingerprint: str


def make_ready(finished: FinishedRun, workers: int = 0, progress: Progress | None = None) -> dict[str, str]:
    """Write the review files of every case where they are missing or out of date.

    Args:
        finished: the run.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.

    Returns:
        The error message of each case that failed, by case id.
    """
    progress = progress or NoProgress()
    progress.start("review", len(finished.cohort))
    jobs = []
    done = 0
    for case in finished:
        has_image = case.image_path is not None
        fingerprint = compute_fingerprint(FORMAT_VERSION, finished.stamp(case), finished.anatomy, has_image)
        if finished.run.is_done(REVIEW, case.id, fingerprint):
            done += 1
            progress.advance(done, case.id)
        else:
            jobs.append(_Job(finished, case, fingerprint))
    failed = {}
    for job, _, error in each(_write_files, jobs, workers):
        if error is not None:
            failed[job.case.id] = str(error) or type(error).__name__
        done += 1
        progress.advance(done, job.case.id)
    return failed


def read_image(finished: FinishedRun, case: Case) -> bytes:
    """Read the displayed part of the CT of a case. It is not stored, because it is large.

    Args:
        finished: the run.
        case: a case whose review files exist.

    Returns:
        A NIfTI file as for `page_data.image_file`.
    """
    displayed = read_summary(finished, case).grid
    if case.image_path is None:
        return image_file(None, displayed)
    grid = open_label_map(case.labels_path).grid
    image = finished.image(case, grid)
    return image_file(None if image is None else Crop.from_grid(displayed, grid).apply(image.values), displayed)


def _write_files(job: _Job) -> None:
    finished, case, run = job.finished, job.case, job.finished.run
    before, after = finished.before(case), finished.after(case)
    if not before.grid.is_close(after.grid):
        raise BadInputError(f"{after.path}: not on the grid of {before.path}; repair the case again")
    crop = Crop.around((before.labels | after.labels) > 0, before.grid)
    cropped_before, cropped_after = (crop.apply(volume.labels).astype(np.uint8) for volume in (before, after))
    summary = summarise_case(
        cropped_before, cropped_after, crop.grid, finished.anatomy, finished.changes(case), finished.stamp(case),
        case.image_path is not None,
    )  # fmt: skip
    run.forget(REVIEW, case.id)
    maps = pack_maps(cropped_before, cropped_after)
    surfaces = pack_surfaces(cropped_before, cropped_after, crop.grid, finished.anatomy)
    files = run.write_review_case(case.id, summary.to_dict(), maps, surfaces)
    run.finish(REVIEW, case.id, job.fingerprint, files)
