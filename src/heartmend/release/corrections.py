"""Hand-corrected label maps taken back into a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.errors import BadInputError, HeartmendError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.io.file_names import by_case, volume_ending
from heartmend.io.label_maps import read_labels
from heartmend.io.nifti import write_volume
from heartmend.io.segments import is_segmentation, read_segments
from heartmend.release.case_files import composed, corrected_path
from heartmend.release.compose import Plan
from heartmend.release.plan import plan_release
from heartmend.run_folder.decisions import DecisionRequest, Decisions, decisions_of
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels


@dataclass(frozen=True)
class Taken:
    """What came of one file: the structures that it corrects, or why it was not taken."""

    case: str
    path: Path
    structures: tuple[str, ...] = ()
    error: str = ""


def import_corrected(
    subject: FinishedRun, folder: Path, who: str, progress: Callable[[int, int, str], None] | None = None
) -> Iterator[Taken]:
    """Take the corrected maps of a folder, or of the folders in it, into the run; yields what came of each file.

    A file is a segmentation that 3D Slicer saved (.seg.nrrd) or a label map with the data set's ids on the case's grid.
    The structures that were marked, and all others that were drawn otherwise than they were handed out, are then
    `corrected`. Raises BadInputError when the folder holds no map. progress: called with how many are done, of how
    many, and the case.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder; give the folder that holds the corrected maps")
    inside = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    files = [p for place in inside for p in sorted(place.iterdir()) if p.is_file() and volume_ending(p)]
    maps = by_case((p for p in files if not p.name.startswith(".")), "label")
    if not maps.chosen and not maps.skipped:
        raise BadInputError(f"{folder}: holds no label map (.seg.nrrd, .nii.gz, .nii, .nrrd or .mha)")
    decisions = decisions_of(subject)
    plans = plan_release(subject, decisions, "accept")
    known = {p.case.id: p for p in (*plans.release, *plans.manual)}
    yield from (Taken(id, folder, error=why) for id, why in maps.skipped.items())
    for done, (id, path) in enumerate(maps.chosen.items(), start=1):
        try:
            if id not in known:
                raise BadInputError(
                    f"{path}: no case {id!r} in {subject.run.out}; its name must begin with a case's id"
                )
            taken = Taken(id, path, _take(subject, known[id], path, who, decisions))
        except (HeartmendError, OSError) as error:
            taken = Taken(id, path, error=str(error))
        if progress is not None:
            progress(done, len(maps.chosen), id)
        yield taken


def _take(subject: FinishedRun, plan: Plan, path: Path, who: str, decisions: Decisions) -> tuple[str, ...]:
    handed_out = composed(subject, plan)
    labels = _read(subject, plan.case, path, handed_out.grid)
    drawn = labels != handed_out.labels
    touched = set(np.unique(labels[drawn])) | set(np.unique(handed_out.labels[drawn]))
    marked = {subject.anatomy.by_name(n).id for n in plan.having("manual", "corrected")}
    wanted = [s.name for s in subject.anatomy.structures if s.id in touched | marked]
    if not wanted:
        raise BadInputError(f"{path}: is as it was handed out, and nothing in it was marked for manual work")
    write_volume(labels, handed_out.grid, corrected_path(subject, plan.case))
    numbers = {(d.case, d.structure): d.number for d in decisions.current()}
    notes = {d.structure: d.note for d in plan.decided}
    wishes = [
        DecisionRequest(plan.case.id, name, "corrected", notes.get(name, ""), plan.digest.stamp,
             numbers.get((plan.case.id, name), 0))
        for name in wanted
    ]  # fmt: skip
    decisions.write(wishes, who)
    return tuple(wanted)


def _read(subject: FinishedRun, case: Case, path: Path, grid: Grid) -> Labels:
    if path.name.lower().endswith(".nrrd") and is_segmentation(path):
        return read_segments(path, grid, subject.anatomy)
    found = read_labels(path, subject.anatomy, "error", subject.cohort.file_ids)
    if not found.grid.is_close(grid):
        raise BadInputError(
            f"{path}: is not on the grid of {case.labels_path} ({found.grid.shape} voxels, {grid.shape} are needed); "
            "export it from 3D Slicer with that label map as the reference volume"
        )
    return found.labels
