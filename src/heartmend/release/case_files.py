"""Files of one case of a release: label maps in every layout, or the folder of a case to be corrected by hand."""

from __future__ import annotations

from pathlib import Path

from heartmend.io.atomic import write_text
from heartmend.io.segments import write_segments
from heartmend.release.case_layouts import CaseExport, ComposedMap, status_of_segments, write_image, write_in_layout
from heartmend.release.changelog import case_changelog, correction_note
from heartmend.release.layouts import Layout, ReleaseNames
from heartmend.release.training import TrainingOptions
from heartmend.review.compose import compose_run_case
from heartmend.review.plan import CasePlan
from heartmend.run_folder.finished import FinishedRun


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
    labels, before = compose_run_case(finished, plan)
    return ComposedMap(labels, before.grid, before.unknown, before.meaning is not None and before.meaning.has_ids)


def write_case(
    finished: FinishedRun,
    plan: CasePlan,
    layouts: frozenset[Layout],
    names: ReleaseNames,
    training: TrainingOptions,
    folder: Path,
) -> None:
    """Write the files of a released case.

    Args:
        finished: the run.
        plan: choices of the case.
        layouts: layouts besides labels/.
        names: names of the case in the layouts.
        training: options for the layouts that networks are trained with.
        folder: folder of the release.

    Raises:
        RunError: if a hand-corrected map is missing.
        BadInputError: if a file of the case cannot be read.
    """
    case, anatomy = plan.case, finished.anatomy
    composed = compose_case(finished, plan)
    released = folder / "labels" / case.labels_path.name
    finished.cohort.write_labels(case, composed.labels, released, composed.unknown)
    export = CaseExport(finished, plan, composed, names, training, folder, released)
    for layout in sorted(layouts):
        write_in_layout(layout, export)
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
    status = status_of_segments(plan, finished.anatomy)
    write_segments(composed.labels, composed.grid, finished.anatomy, path, status)
    if plan.case.image_path is not None:
        write_image(finished, plan.case, composed.grid, case_folder / f"{plan.case.id}.ct.nii.gz")
    write_text(case_folder / "README.md", correction_note(plan))
