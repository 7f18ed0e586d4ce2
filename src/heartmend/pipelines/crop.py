"""Label maps and CT images cropped to the ROI and resampled to cubes, as the NeAR project uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import BadInputError, RunError
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.nifti import write_volume
from heartmend.run_folder.admission import check_no_overlap
from heartmend.run_folder.folder import is_run


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case
    output: Path
    resolution: int


def crop_cohort(
    labels: Path, output: Path, images: Path | None, anatomy: Anatomy, resolution: int, workers: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[str, Exception | None]]:  # fmt: skip
    """Crop every case to its ROI and resample it to a cube of `resolution` voxels along each side.

    Writes output/labels (uint8, nearest neighbour) and output/images (int16 HU, linear). Outside of the scan label
    maps are background, and images have the lowest value of the window.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        output: folder for the result, outside of the input folders.
        images: folder of the CT images.
        anatomy: the structures of the label maps.
        resolution: voxels along each side.
        workers: number of worker processes (0: one per CPU core).
        progress: receiver of progress reports, one step for each case.

    Yields:
        The id of each case with its error, or None.

    Raises:
        BadInputError: if there is no case.
        RunError: if the output folder overlaps an input folder, or contains a run.
    """
    progress = progress or NoProgress()
    for given in (labels, *([images] if images else [])):
        check_no_overlap(output, given)
    if is_run(output):
        raise RunError(f"{output}: contains a run, whose label maps must not be replaced; give another --output")
    cohort = discover_cohort(labels, images, anatomy=anatomy)
    yield from ((id, BadInputError(reason)) for id, reason in cohort.skipped.items())
    jobs = [_Job(cohort, case, output, resolution) for case in cohort]
    progress.start("crop", len(jobs))
    for done, (job, _, error) in enumerate(each(_crop_case, jobs, workers), start=1):
        progress.advance(done, job.case.id)
        yield job.case.id, error


def _crop_case(job: _Job) -> None:
    volume = job.cohort.read_labels(job.case)
    roi = Roi.around(volume.labels, volume.grid, job.cohort.anatomy)
    cells = roi.resample_labels(volume.labels, job.resolution)
    grid = roi.grid_at(job.resolution)
    write_volume(
        np.where(cells == 255, 0, cells).astype(np.uint8), grid, job.output / "labels" / f"{job.case.id}.nii.gz"
    )
    if (image := job.cohort.read_image(job.case, volume.grid)) is not None:
        low, high = window = (-1024.0, 3071.0)
        hu = roi.resample_image(image.values, job.resolution, window) * (high - low) + low
        write_volume(np.rint(hu).astype(np.int16), grid, job.output / "images" / f"{job.case.id}.nii.gz")
