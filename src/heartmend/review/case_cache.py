"""Review files of the cases, written once into OUT/run/review: summary, label maps and changes, then the surfaces.

The surfaces take as long as all the rest, and only the 3D view needs them: a case is ready for review without them.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, HeartmendError
from heartmend.io.dataset import Case
from heartmend.io.digests import compute_fingerprint
from heartmend.io.forms.open import open_label_map
from heartmend.repair.change_voxels import CaseChanges, split_into_changes
from heartmend.review.page_data import Crop, image_file, pack_maps, unpack_maps
from heartmend.review.priority import priority_of
from heartmend.review.summary import DisplayedChanges, ReviewSummary, read_summary, summarise_case
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.paths import REVIEW
from heartmend.types import Labels

FORMAT_VERSION = 7
"""Version of the review files; raised whenever their content changes."""


@dataclass(frozen=True)
class _Job:
    finished: FinishedRun
    case: Case


def make_ready(finished: FinishedRun, workers: int = 0, progress: Progress | None = None) -> dict[str, str]:
    """Write the review files of every case but its surfaces, where they are missing or out of date.

    Args:
        finished: the run.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.

    Returns:
        The error message of each case that failed, by case id.
    """
    progress = progress or NoProgress()
    progress.start("review", len(finished.cohort))
    failed = {}
    for done, (case, error) in enumerate(prepare_each(finished, finished, workers), start=1):
        if error:
            failed[case.id] = error
        progress.advance(done, case.id)
    return failed


def prepare_each(finished: FinishedRun, cases: Iterable[Case], workers: int = 0) -> Iterator[tuple[Case, str]]:
    """Write the review files of cases but their surfaces, where they are missing or out of date.

    Args:
        finished: the run.
        cases: cases of it, in the order in which they are prepared.
        workers: number of worker processes; 0 for one per CPU core.

    Yields:
        Each case when its files are ready, and its error message; empty where it did not fail.
    """
    yield from _each_case(_prepare, finished, cases, workers)


def prepare_each_surfaces(finished: FinishedRun, cases: Iterable[Case], workers: int = 0) -> Iterator[tuple[Case, str]]:
    """Write the surfaces of cases whose other review files exist, where they are missing.

    Args:
        finished: the run.
        cases: cases of it, in the order in which they are prepared.
        workers: number of worker processes; 0 for one per CPU core.

    Yields:
        As of `prepare_each`.
    """
    yield from _each_case(_prepare_surfaces, finished, cases, workers)


def _each_case(
    work: Callable[[_Job], None], finished: FinishedRun, cases: Iterable[Case], workers: int
) -> Iterator[tuple[Case, str]]:
    """Work on cases in processes; yields each with its error message."""
    for job, _, error in each(work, [_Job(finished, case) for case in cases], workers):
        yield job.case, "" if error is None else str(error) or type(error).__name__


def by_urgency(finished: FinishedRun, cases: Iterable[Case]) -> list[Case]:
    """Sort cases by what is known of their review priority before their label maps are compared: the change logs.

    Args:
        finished: the run.
        cases: cases of it.

    Returns:
        The cases, the most urgent first.
    """

    def score(case: Case) -> float:
        try:
            log = finished.changes(case)
            return priority_of(log.changes, sum(not v.accepted for v in log.verdicts), 0.0).score
        except HeartmendError:
            return 0.0  # the damaged change log is reported when the case is prepared

    return sorted(cases, key=lambda case: (-score(case), case.id))


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


def read_uncertainty(finished: FinishedRun, case: Case) -> bytes | None:
    """Read the displayed part of the probabilities of an error of a case (`heartmend run --uncertainty`).

    Args:
        finished: the run.
        case: a case whose review files exist.

    Returns:
        The probability of each voxel in percent, uint8, x fastest, compressed by gzip; None where it was not written.

    Raises:
        DamagedError, RunError: if the file cannot be used.
    """
    displayed, grid = read_summary(finished, case).grid, open_label_map(case.labels_path).grid
    percent = finished.run.uncertainty(case.id, grid)
    if percent is None:
        return None
    return gzip.compress(Crop.from_grid(displayed, grid).apply(percent).tobytes(order="F"), compresslevel=4, mtime=0)


def _prepare(job: _Job) -> None:
    prepare_case(job.finished, job.case)


def _prepare_surfaces(job: _Job) -> None:
    prepare_surfaces(job.finished, job.case)


def prepare_case(finished: FinishedRun, case: Case) -> None:
    """Write the review files of a case but its surfaces, where they are missing or out of date.

    Args:
        finished: the run.
        case: a case of it.

    Raises:
        BadInputError, RunError: if a file of the case cannot be used.
    """
    run, fingerprint = finished.run, _fingerprint(finished, case)
    if run.is_done(REVIEW, case.id, fingerprint):
        return
    summary, changes, (before, after) = _summarise(finished, case)
    run.forget(REVIEW, case.id)
    files = run.write_review_case(case.id, summary.to_dict(), pack_maps(before, after), changes)
    run.finish(REVIEW, case.id, fingerprint, files)


def is_ready(finished: FinishedRun, case: Case) -> bool:
    """Return whether the review files of a case but its surfaces exist and are up to date.

    Args:
        finished: the run.
        case: a case of it.

    Returns:
        False also where that cannot be found out: to prepare the case shows the reason.
    """
    try:
        return finished.run.is_done(REVIEW, case.id, _fingerprint(finished, case))
    except HeartmendError:
        return False


def _fingerprint(finished: FinishedRun, case: Case) -> str:
    return compute_fingerprint(FORMAT_VERSION, finished.stamp(case), finished.anatomy, case.image_path is not None)


def prepare_surfaces(finished: FinishedRun, case: Case) -> None:
    """Write the surfaces of a case whose other review files exist, where they are missing.

    Args:
        finished: the run.
        case: a case of it.

    Raises:
        RunError: if a review file of the case is damaged.
    """
    # Imported where it is used: the first case is shown before.
    from heartmend.review.surfaces import pack_surfaces

    run = finished.run
    if run.has_review_surfaces(case.id):
        return
    summary = read_summary(finished, case)
    before, after = unpack_maps(run.read_review_volume(case.id, "maps"), summary.shape)
    run.write_review_surfaces(case.id, pack_surfaces(before, after, summary.grid, finished.anatomy))


def _summarise(finished: FinishedRun, case: Case) -> tuple[ReviewSummary, CaseChanges, tuple[Labels, Labels]]:
    """Summary of a case, its changes, and the displayed part of its two label maps."""
    before, after = finished.before(case), finished.after(case)
    if not before.grid.is_close(after.grid):
        raise BadInputError(f"{after.path}: not on the grid of {before.path}; repair the case again")
    crop = Crop.around((before.labels | after.labels) > 0, before.grid)
    cropped_before, cropped_after = (crop.apply(volume.labels).astype(np.uint8) for volume in (before, after))
    log = finished.changes(case)
    changes = split_into_changes(before.labels, after.labels, before.grid, finished.anatomy, log.changes)
    displayed = DisplayedChanges.of(log, changes, crop.apply(changes.volume(before.grid.shape)))
    summary = summarise_case(
        cropped_before, cropped_after, crop.grid, finished.anatomy, displayed, finished.stamp(case),
        case.image_path is not None,
    )  # fmt: skip
    return summary, changes, (cropped_before, cropped_after)
