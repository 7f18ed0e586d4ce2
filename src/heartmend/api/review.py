"""What follows a repair: `write_report`, `export` and `import_corrections`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.api.arguments import Names, ProgressLike, StrPath, as_names, as_path, check_choice
from heartmend.compute.progress import Progress, as_progress

if TYPE_CHECKING:
    from heartmend.pipelines.result import ExportResult, ImportResult
    from heartmend.release.layouts import Images, Layout
    from heartmend.review.plan import Undecided
    from heartmend.run_folder.finished import FinishedRun

log = logging.getLogger(__name__)


def write_report(
    run_folder: StrPath, output: StrPath | None = None, *, images: StrPath | None = None, labels: StrPath | None = None,
    reference: StrPath | None = None, cases: Names = (), worst: int = 2, most_changed: int = 2, workers: int = 0,
    scheduler: str = "", progress: ProgressLike = None,
) -> list[Path]:  # fmt: skip
    """Write an HTML report of a run, as `heartmend report`.

    Args:
        run_folder: OUT, the folder of the run.
        output: folder for the report; OUT/report if None.
        images: folder of the CTs, if not where the run had them.
        labels: folder of the original label maps, if moved since the run.
        reference: true label maps, such as those of a phantom cohort.
        cases: ids of cases that are shown with pictures too.
        worst: number of the worst cases with pictures.
        most_changed: number of the most changed cases with pictures.
        workers: number of worker processes; 0: one per CPU core.
        scheduler: Dask cluster for the work on single cases: its address, its file, or slurm.
        progress: as for `run`.

    Returns:
        The files; the first is report.html.

    Raises:
        RunError: if there is no run, or none of its cases is repaired.
        BadInputError: if a case is not in the run, or the reference cannot be used.
    """
    from heartmend.compute.cluster import scheduled
    from heartmend.report.build import write_report as write_report_files
    from heartmend.report.changes import CaseSelection
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(Path(run_folder), as_path(labels), as_path(images))
    selection = CaseSelection(as_names(cases), worst, most_changed)
    with scheduled(scheduler, workers):
        return write_report_files(
            finished, Path(output or Path(run_folder) / "report"), reference=as_path(reference), selection=selection,
            workers=workers, progress=as_progress(progress),
        )  # fmt: skip


def export(
    run_folder: StrPath, output: StrPath, *, images: StrPath | None = None, labels: StrPath | None = None,
    formats: Names = ("nnunet", "bids", "slicer", "itksnap", "meshes"), undecided: Undecided = "leave-out",
    copy_images: bool = False, with_images: bool = True, ignore_above: float | None = None, workers: int = 0,
    progress: ProgressLike = None,
) -> ExportResult:  # fmt: skip
    """Write the reviewed label maps of a run as a data set, as `heartmend export`.

    Args:
        run_folder: OUT, the folder of the run.
        output: folder of the data set; it must be new or empty.
        images: folder of the CTs, if not where the run had them.
        labels: folder of the original label maps, if moved since the run.
        formats: layouts besides labels/: nnunet, bids, slicer, itksnap, meshes, totalsegmentator, decathlon, dicom-seg,
            rtstruct; none if empty. The last two need the CTs as DICOM series.
        undecided: structures without a decision: "leave-out" leaves out the case, "accept" or "reject" the changes.
        copy_images: whether the CTs are copied into the layouts that have images; by default they are hard links where
            the disk allows.
        with_images: whether the CTs are put into these layouts at all.
        ignore_above: voxels whose label is wrong with a higher probability get nnU-Net's ignore label, such as 0.3; the
            run needs `uncertainty`. None: none.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        The released cases, those to be corrected by hand, and those left out with the reasons.

    Raises:
        ConfigError: if a format or `undecided` is unknown.
        RunError: if no case can be released, or the folder is not empty or in a folder of the run.
    """
    from heartmend.pipelines.result import ExportResult
    from heartmend.release.export import export_release
    from heartmend.release.layouts import LAYOUTS
    from heartmend.release.training import TrainingOptions
    from heartmend.review.plan import UNDECIDED
    from heartmend.run_folder.finished import FinishedRun

    layouts: frozenset[Layout] = frozenset(layout for layout in LAYOUTS if layout in as_names(formats))
    for name in as_names(formats):
        check_choice("formats", name, LAYOUTS)
    check_choice("undecided", undecided, UNDECIDED)
    ct: Images = "none" if not with_images else "copy" if copy_images else "link"
    receiver, training = as_progress(progress), TrainingOptions(ct, ignore_above)
    finished = FinishedRun.open(Path(run_folder), as_path(labels), as_path(images))
    plan = export_release(finished, Path(output), layouts, undecided, training, workers, receiver)
    released, to_correct = (tuple(p.case.id for p in plans) for plans in (plan.release, plan.to_correct))
    return ExportResult(Path(output), released, to_correct, dict(plan.left_out))


def import_corrections(
    run_folder: StrPath, source: StrPath, *, images: StrPath | None = None, labels: StrPath | None = None,
    by: str = "", workers: int = 0, progress: ProgressLike = None,
) -> ImportResult:  # fmt: skip
    """Import hand-corrected label maps or a table of decisions into a run, as `heartmend import`.

    Args:
        run_folder: OUT, the folder of the run.
        source: folder of corrected label maps, or a decisions.csv.
        images: folder of the CTs, if not where the run had them.
        labels: folder of the original label maps, if moved since the run.
        by: name of the person who corrected the label maps; the user of this machine if empty.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        The corrected cases, and the files that were skipped with the reasons; or the number of imported decisions.

    Raises:
        RunError: if there is no run.
        BadInputError: if there is no label map, or the table has errors; nothing of it is written.
    """
    from heartmend.pipelines.result import ImportResult
    from heartmend.release.corrections import import_corrected
    from heartmend.run_folder.decision_records import user_name
    from heartmend.run_folder.decisions_table import import_decisions

    receiver = as_progress(progress)
    finished = _ready_for_review(run_folder, labels, images, workers, receiver)
    if Path(source).is_file():
        return ImportResult({}, {}, import_decisions(Path(source), finished).written)
    maps = import_corrected(finished, Path(source), by or user_name(), receiver)
    done = {one.case: one.structures for one in maps if not one.error}
    return ImportResult(done, {one.case: one.error for one in maps if one.error})


def _ready_for_review(
    run_folder: StrPath, labels: StrPath | None, images: StrPath | None, workers: int, progress: Progress
) -> FinishedRun:
    """Open a run and write the review files of its cases."""
    from heartmend.review.case_cache import make_ready
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(Path(run_folder), as_path(labels), as_path(images))
    for case_id, reason in make_ready(finished, workers, progress).items():
        log.warning("case %s cannot be reviewed: %s", case_id, reason)
    return finished
