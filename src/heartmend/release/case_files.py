"""Files of one case of a release: label maps in every layout, or the folder of a case to be corrected by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_mask
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import Case
from heartmend.io.label_maps import read_ids
from heartmend.io.mesh_files import write_ply
from heartmend.io.nifti import write_volume
from heartmend.io.segments import Status, write_segments
from heartmend.release.changelog import case_changelog, correction_note
from heartmend.release.compose import compose_labels
from heartmend.release.layouts import Layout, ReleaseNames, nnunet_ids
from heartmend.release.plan import CasePlan
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import UNKNOWN, Labels, Mask


@dataclass(frozen=True, eq=False)
class ComposedMap:
    """Label map of a case, composed by its plan.

    Attributes:
        labels: label map (x, y, z) in the ids of the anatomy, uint8.
        grid: its grid.
        unknown: voxels of ids that the anatomy does not define; None where there are none.
        has_own_ids: whether the values of the case's file are the ids of the anatomy.
    """

    labels: Labels
    grid: Grid
    unknown: Mask | None
    has_own_ids: bool = True


def compose_case(finished: FinishedRun, plan: CasePlan) -> ComposedMap:
    """Compose the label map of a case.

    Args:
        finished: the run.
        plan: choices of the case.

    Returns:
        The label map.

    Raises:
        RunError: if a hand-corrected map is needed and missing, or a map was damaged.
    """
    before, after = finished.before(plan.case), finished.after(plan.case)
    corrected = None
    if plan.structures_with("corrected"):
        corrected = read_ids(finished.run.corrected_map(plan.case.id), finished.anatomy)
    labels = compose_labels(before.labels, after.labels, plan, finished.anatomy, corrected)
    return ComposedMap(labels, before.grid, before.unknown, before.meaning is not None and before.meaning.has_ids)


def write_case(
    finished: FinishedRun,
    plan: CasePlan,
    layouts: frozenset[Layout],
    names: ReleaseNames,
    with_images: bool,
    folder: Path,
) -> None:
    """Write the files of a released case.

    Args:
        finished: the run.
        plan: choices of the case.
        layouts: layouts besides labels/.
        names: names of the case in the layouts.
        with_images: whether the CT is copied into the nnU-Net layout.
        folder: folder of the release.

    Raises:
        RunError: if a hand-corrected map is missing.
        BadInputError: if a file of the case cannot be read.
    """
    case, anatomy = plan.case, finished.anatomy
    composed = compose_case(finished, plan)
    released = folder / "labels" / case.labels_path.name
    finished.cohort.write_labels(case, composed.labels, released, composed.unknown)
    # The same file can be used where ids and format equal those of the layout.
    is_plain = composed.has_own_ids and composed.unknown is None and released.name.endswith(".nii.gz")
    reusable = released if is_plain else None
    if "nnunet" in layouts:
        dataset = folder / "nnunet" / names.nnunet
        numbers = nnunet_ids(anatomy)
        same_ids = all(a == b for a, b in numbers.items())
        _write_map(composed, numbers, dataset / "labelsTr" / f"{case.id}.nii.gz", reusable if same_ids else None)
        if with_images:
            write_image(finished, case, composed.grid, dataset / "imagesTr" / f"{case.id}_0000.nii.gz")
    if "bids" in layouts:
        subject = names.bids[case.id]
        stem = folder / "bids" / f"sub-{subject}" / "anat" / f"sub-{subject}_desc-repaired_dseg"
        values = {s.id: s.value for s in anatomy.structures}
        _write_map(composed, values, stem.with_name(f"{stem.name}.nii.gz"), reusable)
        # "Manual" is a key of BIDS: whether a person drew the segmentation.
        write_json(stem.with_name(f"{stem.name}.json"), {"Manual": bool(plan.structures_with("corrected"))})
    if "slicer" in layouts:
        path = folder / "slicer" / f"{case.id}.seg.nrrd"
        write_segments(composed.labels, composed.grid, anatomy, path, _status(plan))
    if "meshes" in layouts:
        for s in anatomy.structures:
            mesh = mesh_of_mask(composed.labels == s.id, composed.grid)
            if len(mesh.triangles):
                write_ply(folder / "meshes" / case.id / f"{s.name}.ply", mesh, s.name, s.colour)
    volumes_ml = {
        s.name: int((composed.labels == s.id).sum()) * composed.grid.voxel_mm3 / 1000 for s in anatomy.structures
    }
    write_text(folder / "changelog" / f"{case.id}.md", case_changelog(plan, volumes_ml))


def write_for_correction(finished: FinishedRun, plan: CasePlan, folder: Path) -> None:
    """Write the folder with which a person corrects a case in 3D Slicer: segmentation, CT and instructions.

    Args:
        finished: the run.
        plan: choices of the case.
        folder: folder of the release.

    Raises:
        RunError: if a hand-corrected map is missing.
        BadInputError: if a file of the case cannot be read.
    """
    composed = compose_case(finished, plan)
    case_folder = folder / "to_correct" / plan.case.id
    path = case_folder / f"{plan.case.id}.seg.nrrd"
    write_segments(composed.labels, composed.grid, finished.anatomy, path, _status(plan))
    if plan.case.image_path is not None:
        write_image(finished, plan.case, composed.grid, case_folder / f"{plan.case.id}.ct.nii.gz")
    write_text(case_folder / "README.md", correction_note(plan))


def _status(plan: CasePlan) -> dict[str, Status]:
    """Status of each structure: what a reviewer decided, or nothing changed, is completed; the rest is in progress."""
    decided = {d.structure for d in plan.decisions}
    unchanged = {s.name for s in plan.summary.structures if s.changed_ml == 0}
    found: dict[str, Status] = {}
    for name, choice in plan.choices.items():
        is_done = name in decided or name in unchanged
        found[name] = "flagged" if choice == "correct" else "completed" if is_done else "inprogress"
    return found


def write_image(finished: FinishedRun, case: Case, grid: Grid, path: Path) -> None:
    """Write the CT of a case on the grid of its label map; nothing for a case without a CT.

    Args:
        finished: the run.
        case: the case.
        grid: grid of the label map.
        path: file to write: a copy where the CT is on this grid, otherwise resampled; HU, int16.
    """
    image = finished.image(case, grid)
    if image is None or case.image_path is None:
        return
    # A resampled image has the grid object that was passed.
    is_original = image.values.dtype.kind in "iu" and image.path.name.endswith(".nii.gz") and image.grid is not grid
    if is_original:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(case.image_path, path)
    else:
        write_volume(np.rint(np.nan_to_num(image.values, nan=-1024)).astype(np.int16), grid, path)


def _write_map(composed: ComposedMap, numbers: Mapping[int, int], path: Path, reusable: Path | None) -> None:
    """Write a label map in other ids; where a file with the same content exists, link or copy it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if reusable is not None:
        try:
            os.link(reusable, path)
        except OSError:
            shutil.copyfile(reusable, path)
        return
    lookup = np.zeros(256, dtype=np.uint8 if max(numbers.values()) < UNKNOWN else np.uint16)
    for id, number in numbers.items():
        lookup[id] = number
    write_volume(lookup[composed.labels], composed.grid, path)
