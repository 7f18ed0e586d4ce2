"""Import of hand-corrected label maps into a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heartmend.compute.progress import NoProgress, Progress
from heartmend.errors import BadInputError, HeartmendError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.io.file_names import group_by_case, volume_ending
from heartmend.io.segments import is_segmentation, read_segments
from heartmend.release.case_files import compose_case
from heartmend.review.corrections import corrected_structures, save_correction
from heartmend.review.plan import CasePlan, plan_release
from heartmend.run_folder.decisions import Decisions, open_decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels


@dataclass(frozen=True)
class ImportedMap:
    """Result of the import of one file.

    Attributes:
        case: case id, or the file name where it contains none.
        path: the file, or its folder where the file name contains no case id.
        structures: the structures that are corrected now.
        error: why the file was skipped; empty where it was imported.
    """

    case: str
    path: Path
    structures: tuple[str, ...] = ()
    error: str = ""


def import_corrected(
    finished: FinishedRun, folder: Path, reviewer: str, progress: Progress | None = None
) -> list[ImportedMap]:
    """Import the corrected label maps of a folder and of its subfolders.

    A file is a segmentation of 3D Slicer (.seg.nrrd), or a label map with the ids of the data set on the grid of the
    case. The structures with the choice `correct`, and all others that differ from the exported map, become
    `corrected`.

    Args:
        finished: a run whose cases were made ready for review (`review.case_cache.make_ready`).
        folder: folder with the corrected maps.
        reviewer: name of the person who corrected them.
        progress: receiver of progress reports.

    Returns:
        The result of each file; a file that cannot be imported has an error.

    Raises:
        BadInputError: if the folder does not exist or contains no label map.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder; give the folder with the corrected label maps")
    progress = progress or NoProgress()
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))]
    files = [p for inner in folders for p in sorted(inner.iterdir()) if p.is_file() and volume_ending(p)]
    maps = group_by_case((p for p in files if not p.name.startswith(".")), "label")
    if not maps.paths and not maps.skipped:
        raise BadInputError(
            f"{folder}: contains no label map (.seg.nrrd, .nii.gz, .nii, .nrrd or .mha); give another folder"
        )
    decisions = open_decisions(finished)
    plan = plan_release(finished, decisions, "accept")
    known = {p.case.id: p for p in (*plan.release, *plan.to_correct)}
    imported = [ImportedMap(id, folder, error=reason) for id, reason in maps.skipped.items()]
    progress.start("import", len(maps.paths))
    for done, (id, path) in enumerate(maps.paths.items(), start=1):
        try:
            if id not in known:
                raise BadInputError(
                    f"{path}: no case {id!r} in {finished.run.output}; the file name must start with a case id"
                )
            imported.append(ImportedMap(id, path, _import_map(finished, known[id], path, reviewer, decisions)))
        except (HeartmendError, OSError) as error:
            imported.append(ImportedMap(id, path, error=str(error)))
        progress.advance(done, id)
    return imported


def _import_map(
    finished: FinishedRun, plan: CasePlan, path: Path, reviewer: str, decisions: Decisions
) -> tuple[str, ...]:
    exported = compose_case(finished, plan)
    labels = _read(finished, plan.case, path, exported.grid)
    corrected = corrected_structures(finished, plan, exported.labels, labels)
    if not corrected:
        raise BadInputError(f"{path}: equals the exported map, and no structure of the case is flagged for correction")
    save_correction(finished, decisions, plan, labels, corrected, reviewer, (exported.grid, path))
    return corrected


def _read(finished: FinishedRun, case: Case, path: Path, grid: Grid) -> Labels:
    if path.name.lower().endswith(".nrrd") and is_segmentation(path):
        return read_segments(path, grid, finished.anatomy)
    return finished.cohort.read_other_labels(case, path, "error").on_grid(grid).labels
