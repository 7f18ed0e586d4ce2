"""prepare: from a case's files to the unit frame, with the faults mended that a label map shows by itself.

The ROI is set about the structures themselves, robust to far islands. The label map is freed of stairs, missing and
shifted slices, salt and swapped patches before anything is fitted to it, because a shape follows what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from heartmend.compute.workers import Outcome, each
from heartmend.errors import BadInputError
from heartmend.geometry.components import without_small_components
from heartmend.geometry.roi import CT_WINDOW_HU, Roi
from heartmend.geometry.surface_noise import surface_noise_mm2
from heartmend.io.atomic import write_npz
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import fingerprint
from heartmend.repair.changes import Change
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.slice_staircase import SliceStaircase, find_slice_staircases, without_slice_staircase
from heartmend.repair.vessels.mend import measure_tree, tree_radius_mm
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, PreparedCase

VERB = PREPARED
RULES_BEFORE_THE_FIT = ("slices", "shifts", "speckle", "swaps", "cut_vessels", "holes")


class PrepareSettings(BaseModel):
    """How cases come to the unit frame."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: Annotated[int, Field(ge=32, le=512)] = 128
    """Cells along each side of the ROI."""
    margin_voxels: Annotated[int, Field(ge=0)] = 10
    window_hu: tuple[float, float] = CT_WINDOW_HU
    repair_faults: bool = True
    """Mend stairs, slices, salt and swaps before the fit; off for the reference's way."""
    images: bool = False
    """Keep the resampled CT too."""


def prepare_case(cohort: Cohort, case: Case, settings: PrepareSettings) -> PreparedCase:
    """One case's files to the unit frame. BadInputError for a file that cannot be used."""
    anatomy = cohort.anatomy
    volume = cohort.read_labels(case)
    labels, grid = volume.labels, volume.grid
    # Before anything is made of the case: an image that lies elsewhere belongs to another patient.
    warnings = (*volume.remarks, *cohort.look_at_image(case, grid))
    roi = Roi.around(labels, grid, anatomy, settings.margin_voxels)
    labels = roi.alone(labels)
    staircases, changes = tuple[SliceStaircase, ...](), list[Change]()
    if settings.repair_faults:
        bulky = [s.id for s in anatomy.structures if s.kind != "tube"]
        staircases = find_slice_staircases(labels, bulky)
        if staircases:
            # What is drawn between two slices would spread their stray voxels.
            labels, changes = apply_rules(labels, grid, anatomy, only=("speckle",))
        for one in staircases:
            labels = without_slice_staircase(labels, one, grid.spacing_mm, bulky)
        labels, more = apply_rules(labels, grid, anatomy, only=RULES_BEFORE_THE_FIT)
        changes += more
    source = np.ascontiguousarray(labels[roi.source_box()])
    radii_mm = {
        s.name: round(tree_radius_mm(measure_tree(source == s.id, grid.spacing_mm)), 4)
        for s in anatomy.structures
        if s.kind == "tube"
    }
    rough = {
        s.name: round(surface_noise_mm2(without_small_components(source == s.id), grid.spacing_mm), 5)
        for s in anatomy.structures
        if s.kind != "tube" and np.any(source == s.id)
    }
    cells = roi.resample_labels(labels, settings.resolution)
    return PreparedCase(case.id, roi, cells, source, staircases, tuple(changes), radii_mm, rough, warnings)


def mark(cohort: Cohort, case: Case, settings: PrepareSettings) -> str:
    """What a prepared case depends on."""
    ids = None if cohort.file_ids is None else sorted(cohort.file_ids.items())
    parts = [case.labels_path, settings, cohort.anatomy, cohort.unknown_labels, ids]
    return fingerprint(*parts, *([case.image_path] if case.image_path else []))


@dataclass(frozen=True)
class _Job:
    run_out: Path
    cohort: Cohort
    case: Case
    settings: PrepareSettings
    mark: str


def prepare(run: Run, cohort: Cohort, settings: PrepareSettings, workers: int = 0) -> Iterator[Outcome[Case, None]]:
    """Prepare every case that is not prepared yet; yields each case with its error, if any, as it is done."""
    jobs = []
    for case in cohort:
        try:
            stamp = mark(cohort, case, settings)
        except BadInputError as unread:
            yield case, None, unread
            continue
        if run.is_done(VERB, case.id, stamp):
            yield case, None, None
        else:
            jobs.append(_Job(run.out, cohort.without_cases(), case, settings, stamp))
    for job, _, error in each(_work, jobs, workers):
        yield job.case, None, error


def _work(job: _Job) -> None:
    run = Run.at(job.run_out)
    if run.is_done(VERB, job.case.id, job.mark):  # by a worker of a cluster that was lost since
        return
    prepared = prepare_case(job.cohort, job.case, job.settings)
    run.forget(VERB, job.case.id)
    prepared.save(run)
    if job.settings.images and (image := job.cohort.read_image(job.case, prepared.roi.grid)) is not None:
        cells = prepared.roi.resample_image(image.values, job.settings.resolution, job.settings.window_hu)
        write_npz(run.case_path(VERB, job.case.id, ".image.npz"), {"image": cells.astype(np.float16)})
    files = [run.case_path(VERB, job.case.id, ending) for ending in (".npz", ".json")]
    run.mark_done(VERB, job.case.id, job.mark, files)
