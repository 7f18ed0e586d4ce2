"""The files of one released case, in every layout, and the folder of one that waits for a hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.errors import RunError
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_mask
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import Case
from heartmend.io.label_maps import read_labels
from heartmend.io.mesh_files import write_ply
from heartmend.io.nifti import write_volume
from heartmend.io.segments import write_segments
from heartmend.release.changelog import case_changelog, correction_note
from heartmend.release.compose import Plan, compose
from heartmend.release.layouts import Layout, Names
from heartmend.run_folder.decisions import VERB
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels, Mask


@dataclass(frozen=True, eq=False)
class Composed:
    """The label map of a case by its plan, in the anatomy's ids; `unknown` voxels hold ids that the anatomy lacks."""

    labels: Labels
    grid: Grid
    unknown: Mask | None


def composed(subject: FinishedRun, plan: Plan) -> Composed:
    """Put the case's label map together. RunError when a corrected map is wanted and not there."""
    before, after = subject.before(plan.case), subject.after(plan.case)
    corrected = None
    if plan.having("corrected"):
        path = corrected_path(subject, plan.case)
        if not path.is_file():
            raise RunError(f"{path}: the hand-corrected map is gone; import it again, or decide otherwise")
        corrected = read_labels(path, subject.anatomy).labels
    labels = compose(before.labels, after.labels, plan, subject.anatomy, corrected)
    return Composed(labels, before.grid, before.unknown)


def corrected_path(subject: FinishedRun, case: Case) -> Path:
    """Where a run keeps the hand-corrected map of a case."""
    return subject.run.case_path(VERB, case.id, ".corrected.nii.gz")


def write_case(
    subject: FinishedRun, plan: Plan, layouts: frozenset[Layout], names: Names, images: bool, to: Path
) -> None:
    """Write a released case into the folder `to`."""
    case, anatomy = plan.case, subject.anatomy
    put = composed(subject, plan)
    own = to / "labels" / case.labels_path.name
    subject.cohort.write_labels(case, put.labels, own, put.unknown)
    # The very file serves where ids and format are those of the layout.
    plain = own if subject.cohort.file_ids is None and put.unknown is None and own.name.endswith(".nii.gz") else None
    if "nnunet" in layouts:
        folder = to / "nnunet" / names.nnunet
        numbers = names.nnunet_ids(anatomy)
        same = all(a == b for a, b in numbers.items())
        _write_map(put, numbers, folder / "labelsTr" / f"{case.id}.nii.gz", plain if same else None)
        if images:
            write_image(subject, case, put.grid, folder / "imagesTr" / f"{case.id}_0000.nii.gz")
    if "bids" in layouts:
        subject_label = names.bids[case.id]
        stem = to / "bids" / f"sub-{subject_label}" / "anat" / f"sub-{subject_label}_desc-mended_dseg"
        _write_map(put, {i: i for i in anatomy.ids}, stem.with_name(f"{stem.name}.nii.gz"), plain)
        write_json(stem.with_name(f"{stem.name}.json"), {"Manual": bool(plan.having("corrected"))})
    if "slicer" in layouts:
        write_segments(put.labels, put.grid, anatomy, to / "slicer" / f"{case.id}.seg.nrrd")
    if "meshes" in layouts:
        for structure in anatomy.structures:
            mesh = mesh_of_mask(put.labels == structure.id, put.grid)
            if len(mesh.triangles):
                write_ply(to / "meshes" / case.id / f"{structure.name}.ply", mesh, structure.name, structure.colour)
    volumes = {s.name: int((put.labels == s.id).sum()) * put.grid.voxel_mm3 / 1000 for s in anatomy.structures}
    write_text(to / "changelog" / f"{case.id}.md", case_changelog(plan, volumes))


def write_for_correction(subject: FinishedRun, plan: Plan, to: Path) -> None:
    """Write the folder from which a person corrects a case in 3D Slicer: segments, CT, what to do."""
    put = composed(subject, plan)
    folder = to / "manual" / plan.case.id
    write_segments(put.labels, put.grid, subject.anatomy, folder / f"{plan.case.id}.seg.nrrd")
    if plan.case.image_path is not None:
        write_image(subject, plan.case, put.grid, folder / f"{plan.case.id}.ct.nii.gz")
    write_text(folder / "README.md", correction_note(plan))


def write_image(subject: FinishedRun, case: Case, grid: Grid, path: Path) -> None:
    """Write the case's CT on the grid of its label map: the file itself where it lies on that grid.

    HU, whole numbers; without a CT nothing is written.
    """
    image = subject.image(case, grid)
    if image is None or case.image_path is None:
        return
    # An image that had to be resampled has the very grid that was asked for.
    whole = image.values.dtype.kind in "iu" and image.path.name.endswith(".nii.gz") and image.grid is not grid
    if whole:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(case.image_path, path)
    else:
        write_volume(np.rint(np.nan_to_num(image.values, nan=-1024)).astype(np.int16), grid, path)


def _write_map(put: Composed, numbers: Mapping[int, int], path: Path, same: Path | None) -> None:
    """Write a label map in other numbers; where a file has just that already, another name for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if same is not None:
        try:
            os.link(same, path)
        except OSError:
            shutil.copyfile(same, path)
        return
    lookup = np.zeros(256, dtype=np.uint8)
    for id, number in numbers.items():
        lookup[id] = number
    write_volume(lookup[put.labels], put.grid, path)
