"""Label maps and CT images cropped to the ROI and resampled to cubes, as the NeAR project uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import BadInputError
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.label_writing import as_values
from heartmend.io.nifti import write_volume
from heartmend.run_folder.admission import check_plain_output
from heartmend.types import BACKGROUND, UNKNOWN


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case
    output: Path
    resolution: int


@dataclass(frozen=True)
class CropRequest:
    """Inputs and options; see `heartmend crop --help`.

    Attributes:
        labels: folder of label maps, or an nnU-Net v2 data set.
        output: folder for the result, outside of the input folders.
        anatomy: the structures of the label maps.
        resolution: voxels along each side.
        images: folder of the CT images.
        workers: number of worker processes (0: one per CPU core).
        ids: value of the label maps -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label maps have; empty: none.
    """

    labels: Path
    output: Path
    anatomy: Anatomy
    resolution: int = 256
    images: Path | None = None
    workers: int = 0
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""


def crop_cohort(request: CropRequest, progress: Progress | None = None) -> Iterator[tuple[str, Exception | None]]:
    """Crop every case to its ROI and resample it to a cube of `resolution` voxels along each side.

    Writes output/labels (ids of the anatomy, nearest neighbour) and output/images (int16 HU, linear). Outside of the
    scan label maps are background, and images have the lowest value of the window.

    Args:
        request: what to crop.
        progress: receiver of progress reports, one step for each case.

    Yields:
        The id of each case with its error, or None.

    Raises:
        BadInputError: if there is no case.
        RunError: if the output folder overlaps an input folder, or contains a run.
    """
    progress, output, images = progress or NoProgress(), request.output, request.images
    check_plain_output(output, (request.labels, *([images] if images else [])), ("labels", "images"))
    cohort = discover_cohort(
        request.labels, images, anatomy=request.anatomy, ids=request.ids, preset_ids=request.preset_ids
    )
    yield from ((id, BadInputError(reason)) for id, reason in cohort.skipped.items())
    jobs = [_Job(cohort, case, output, request.resolution) for case in cohort]
    progress.start("crop", len(jobs))
    for done, (job, _, error) in enumerate(each(_crop_case, jobs, request.workers), start=1):
        progress.advance(done, job.case.id)
        yield job.case.id, error


def _crop_case(job: _Job) -> None:
    volume = job.cohort.read_labels(job.case)
    roi = Roi.around(volume.labels, volume.grid, job.cohort.anatomy)
    cells = roi.resample_labels(volume.labels, job.resolution)
    grid = roi.grid_at(job.resolution)
    inside = np.where(cells == UNKNOWN, BACKGROUND, cells).astype(np.uint8)
    write_volume(as_values(inside, job.cohort.anatomy), grid, job.output / "labels" / f"{job.case.id}.nii.gz")
    if (image := job.cohort.read_image(job.case, volume.grid)) is not None:
        low, high = window = (-1024.0, 3071.0)
        hu = roi.resample_image(image.values, job.resolution, window) * (high - low) + low
        write_volume(np.rint(hu).astype(np.int16), grid, job.output / "images" / f"{job.case.id}.nii.gz")
