"""The label map of a released case in each layout: one function for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_mask
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import Case
from heartmend.io.file_names import real_path, volume_ending
from heartmend.io.itksnap_workspace import itksnap_workspace
from heartmend.io.mesh_files import write_ply
from heartmend.io.nifti import write_volume
from heartmend.io.segments import Status, write_segments
from heartmend.release.layouts import Images, Layout, ReleaseNames, consecutive_ids, mask_names
from heartmend.release.training import TrainingOptions, ignore_number, ignored_voxels
from heartmend.review.plan import CasePlan
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import UNKNOWN, Labels, Mask

if TYPE_CHECKING:
    from heartmend.io.dicom.create import NewSegment
    from heartmend.io.dicom.series import Series


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


@dataclass(frozen=True, eq=False)
class CaseExport:
    """A released case that is written in a layout.

    Attributes:
        finished: the run.
        plan: choices of the case.
        composed: its label map.
        names: names in the layouts.
        training: options for the layouts that networks are trained with.
        folder: folder of the release.
        released: the file in labels/.
    """

    finished: FinishedRun
    plan: CasePlan
    composed: ComposedMap
    names: ReleaseNames
    training: TrainingOptions
    folder: Path
    released: Path

    @property
    def case(self) -> Case:
        """The case."""
        return self.plan.case

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy of the run."""
        return self.finished.anatomy

    @property
    def reusable(self) -> Path | None:
        """The file in labels/ where its ids and format equal those of a layout with the ids of the anatomy."""
        plain = self.composed.has_own_ids and self.composed.unknown is None
        return self.released if plain and self.released.name.endswith(".nii.gz") else None


def write_in_layout(layout: Layout, export: CaseExport) -> None:
    """Write a case in a layout.

    Args:
        layout: the layout.
        export: the case.

    Raises:
        BadInputError: if the CT of the case is needed and cannot be read.
        OutputError: if a file cannot be written.
    """
    if layout in _WRITERS:
        _WRITERS[layout](export)


def status_of_segments(plan: CasePlan, anatomy: Anatomy) -> dict[str, Status]:
    """Return the status of each segment: what a reviewer decided or nothing changed is completed.

    Args:
        plan: choices of the case.
        anatomy: the structures.

    Returns:
        Name of a structure -> its status.
    """
    decided = {d.structure for d in plan.decisions}
    changed = {s.name for s in plan.summary.structures if s.changed_ml > 0}
    found: dict[str, Status] = {}
    for name in anatomy.names:
        is_done = name in decided or name not in changed
        found[name] = "flagged" if plan.choices.get(name) == "correct" else "completed" if is_done else "inprogress"
    return found


def write_image(finished: FinishedRun, case: Case, grid: Grid, path: Path, images: Images = "copy") -> None:
    """Write the CT of a case on the grid of its label map; nothing for a case without a CT.

    Args:
        finished: the run.
        case: the case.
        grid: grid of the label map.
        path: file to write: the file of the CT where it is on this grid, otherwise resampled; HU, int16.
        images: whether the file of the CT is linked or copied.
    """
    image = finished.image(case, grid)
    if image is None or case.image_path is None:
        return
    # A resampled image has the grid object that was passed.
    is_original = image.values.dtype.kind in "iu" and image.path.name.endswith(".nii.gz") and image.grid is not grid
    if is_original:
        path.parent.mkdir(parents=True, exist_ok=True)
        if images == "link":
            link_or_copy(case.image_path, path)
        else:
            shutil.copyfile(case.image_path, path)
    else:
        write_volume(np.rint(np.nan_to_num(image.values, nan=-1024)).astype(np.int16), grid, path)


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name; where the disk does not allow that, copy it.

    Args:
        source: the file.
        path: its second name.
    """
    try:
        # The file itself, not a link of the data set that leads to it.
        os.link(real_path(source), path)
    except OSError:
        shutil.copyfile(source, path)


def _write_nnunet(export: CaseExport) -> None:
    dataset, composed = export.folder / "nnunet" / export.names.nnunet, export.composed
    _write_numbered(export, dataset, channel="_0000")
    if (above := export.training.ignore_above) is not None:
        ignored = ignored_voxels(export.finished, export.case, composed.labels, composed.grid, above)
        numbers = _lookup(consecutive_ids(export.anatomy))[composed.labels]
        numbers[ignored] = ignore_number(export.anatomy)
        # A link to the file in labels/ must not be written through.
        (target := dataset / "labelsTr" / f"{export.case.id}.nii.gz").unlink()
        write_volume(numbers, composed.grid, target)


def _write_decathlon(export: CaseExport) -> None:
    _write_numbered(export, export.folder / "decathlon" / export.names.decathlon, channel="")


def _write_numbered(export: CaseExport, dataset: Path, channel: str) -> None:
    """Write a map in consecutive ids, and the CT."""
    name, numbers = export.case.id, consecutive_ids(export.anatomy)
    same_ids = all(a == b for a, b in numbers.items())
    target = dataset / "labelsTr" / f"{name}.nii.gz"
    _write_map(export.composed, numbers, target, export.reusable if same_ids else None)
    if export.training.images != "none":
        image = dataset / "imagesTr" / f"{name}{channel}.nii.gz"
        write_image(export.finished, export.case, export.composed.grid, image, export.training.images)


def _write_bids(export: CaseExport) -> None:
    subject = export.names.bids[export.case.id]
    stem = export.folder / "bids" / f"sub-{subject}" / "anat" / f"sub-{subject}_desc-repaired_dseg"
    values = {s.id: s.value for s in export.anatomy.structures}
    reusable = export.reusable if all(id == value for id, value in values.items()) else None
    _write_map(export.composed, values, stem.with_name(f"{stem.name}.nii.gz"), reusable)
    # Keys of BIDS: whether a person drew the segmentation, and that it is in the space of the patient's own image.
    sidecar = {"Manual": bool(export.plan.structures_with("corrected")), "SpatialReference": "orig"}
    write_json(stem.with_name(f"{stem.name}.json"), sidecar)


def _write_slicer(export: CaseExport) -> None:
    path, composed = export.folder / "slicer" / f"{export.case.id}.seg.nrrd", export.composed
    write_segments(
        composed.labels, composed.grid, export.anatomy, path, status_of_segments(export.plan, export.anatomy)
    )


def _write_itksnap(export: CaseExport) -> None:
    """Write a workspace that opens the label map with its CT, names and colours."""
    if not export.released.is_file() or volume_ending(export.released) is None:
        # ITK-SNAP reads neither folders of masks nor DICOM segmentations as a segmentation.
        return
    id, folder = export.case.id, export.folder / "itksnap"
    labels = f"labels/{export.released.name}"
    image = folder / f"{id}.ct.nii.gz"
    if export.training.images != "none":
        write_image(export.finished, export.case, export.composed.grid, image, export.training.images)
    # A workspace needs an image: without a CT the label map itself.
    main = f"itksnap/{image.name}" if image.is_file() else labels
    text = itksnap_workspace("itksnap", main, labels, export.names.values[id], export.anatomy)
    write_text(folder / f"{id}.itksnap", text)


def _write_meshes(export: CaseExport) -> None:
    for s in export.anatomy.structures:
        mesh = mesh_of_mask(export.composed.labels == s.id, export.composed.grid, keep_topology=s.kind == "tube")
        if len(mesh.triangles):
            write_ply(export.folder / "meshes" / export.case.id / f"{s.name}.ply", mesh, s.name, s.colour)


def _write_totalsegmentator(export: CaseExport) -> None:
    """Write one mask for each structure, also for those that the case lacks, as TotalSegmentator does."""
    folder, composed = export.folder / "totalsegmentator" / export.case.id, export.composed
    for name, id in mask_names(export.anatomy).items():
        mask = (composed.labels == id).astype(np.uint8)
        write_volume(mask, composed.grid, folder / "segmentations" / f"{name}.nii.gz")
    if export.training.images != "none":
        write_image(export.finished, export.case, composed.grid, folder / "ct.nii.gz", export.training.images)


def _write_dicom_seg(export: CaseExport) -> None:
    from heartmend.io.dicom.create import create_segmentation

    create_segmentation(export.folder / "dicom-seg" / f"{export.case.id}.dcm", *_on_series(export))


def _write_rtstruct(export: CaseExport) -> None:
    from heartmend.io.dicom.create import create_structure_set

    create_structure_set(export.folder / "rtstruct" / f"{export.case.id}.dcm", *_on_series(export))


def _on_series(export: CaseExport) -> tuple[Series, list[NewSegment]]:
    """The series of the case, and its structures on the voxels of the series."""
    from heartmend.io.dicom.create import NewSegment
    from heartmend.io.dicom.series import find_series

    case, composed = export.case, export.composed
    series = None if case.series_path is None else find_series(case.series_path)
    if series is None:
        raise BadInputError(
            f"case {case.id}: DICOM SEG and RTSTRUCT need its CT as a DICOM series, and there is none; give the folder "
            "with a series for each case with --images, or leave out these formats"
        )
    orientation = composed.grid.orientation_to(series.grid)
    if orientation is None:
        raise BadInputError(
            f"case {case.id}: its label map is not on the voxels of the series in {case.series_path}; resample it, or "
            "give the series that it belongs to"
        )
    labels = orientation.apply(composed.labels)
    return series, [NewSegment(s.name, s.terminology, s.colour, labels == s.id) for s in export.anatomy.structures]


_WRITERS: dict[Layout, Callable[[CaseExport], None]] = {
    "nnunet": _write_nnunet,
    "bids": _write_bids,
    "slicer": _write_slicer,
    "itksnap": _write_itksnap,
    "meshes": _write_meshes,
    "totalsegmentator": _write_totalsegmentator,
    "decathlon": _write_decathlon,
    "dicom-seg": _write_dicom_seg,
    "rtstruct": _write_rtstruct,
}


def _write_map(composed: ComposedMap, numbers: Mapping[int, int], path: Path, reusable: Path | None) -> None:
    """Write a label map in other ids; where a file with the same content exists, link or copy it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if reusable is not None:
        link_or_copy(reusable, path)
        return
    write_volume(_lookup(numbers)[composed.labels], composed.grid, path)


def _lookup(numbers: Mapping[int, int]) -> npt.NDArray[np.unsignedinteger]:
    """Array from id to number."""
    lookup: npt.NDArray[np.unsignedinteger] = np.zeros(256, np.uint8 if max(numbers.values()) < UNKNOWN else np.uint16)
    for id, number in numbers.items():
        lookup[id] = number
    return lookup
