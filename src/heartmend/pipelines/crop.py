"""CT and label volumes cut to the heart and resampled to one size: the reference project's 256³ tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, RunError
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.nifti import write_volume
from heartmend.run_folder.admission import refuse_overlap


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case
    out: Path
    resolution: int


def crop_cohort(
    labels: Path, out: Path, images: Path | None, anatomy: Anatomy, resolution: int, workers: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[tuple[str, Exception | None]]:  # fmt: skip
    """Write OUT/labels (uint8, nearest) and OUT/images (int16 HU, linear), `resolution`³ voxels about each heart.

    Outside the scan labels are background and the CT is the window's floor. Yields each case id with its error.
    progress: called with how many are done, of how many, and the case.
    """
    for given in (labels, *([images] if images else [])):
        refuse_overlap(out, given)
    if (out / "run" / "run.json").exists():
        raise RunError(f"{out}: is a run, whose mended label maps must stay; give another --out")
    cohort = discover_cohort(labels, images, anatomy=anatomy)
    yield from ((id, BadInputError(why)) for id, why in cohort.skipped.items())
    jobs = [_Job(cohort, case, out, resolution) for case in cohort]
    for done, (job, _, error) in enumerate(each(_work, jobs, workers), start=1):
        if progress is not None:
            progress(done, len(jobs), job.case.id)
        yield job.case.id, error


def _work(job: _Job) -> None:
    volume = job.cohort.read_labels(job.case)
    roi = Roi.around(volume.labels, volume.grid, job.cohort.anatomy)
    cells = roi.resample_labels(volume.labels, job.resolution)
    grid = roi.grid_at(job.resolution)
    write_volume(np.where(cells == 255, 0, cells).astype(np.uint8), grid, job.out / "labels" / f"{job.case.id}.nii.gz")
    if (image := job.cohort.read_image(job.case, volume.grid)) is not None:
        low, high = window = (-1024.0, 3071.0)
        hu = roi.resample_image(image.values, job.resolution, window) * (high - low) + low
        write_volume(np.rint(hu).astype(np.int16), grid, job.out / "images" / f"{job.case.id}.nii.gz")
