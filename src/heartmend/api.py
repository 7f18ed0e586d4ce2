"""Public functions of Heartmend: the commands, with the words of the command line, on paths and on arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import Progress, as_progress
from heartmend.errors import ConfigError
from heartmend.io.label_maps import UnknownLabels

if TYPE_CHECKING:
    from heartmend.metrics.evaluation import Evaluation
    from heartmend.models.heart_model import HeartModel
    from heartmend.pipelines.config import Config
    from heartmend.pipelines.merge import MergeResult
    from heartmend.pipelines.result import CropResult, ExportResult, ImportResult, Phantoms, Result
    from heartmend.pipelines.run import StageName
    from heartmend.quality.check import DataSetReport
    from heartmend.quality.ranking import Ranking
    from heartmend.release.layouts import Images, Layout
    from heartmend.repair.shared_errors.report import SharedErrors
    from heartmend.review.plan import Undecided
    from heartmend.run_folder.finished import FinishedRun

log = logging.getLogger(__name__)

StrPath = str | PathLike[str]
Names = str | Sequence[str]
"""Names, as a sequence or in one text with commas."""
Preset = Literal["mend", "fast", "reference"]
ProgressLike = Progress | Callable[[str, int, int, str], None] | type | None
"""A `heartmend.compute.progress.Progress`, a function `(task, done, total, note)`, or tqdm's class."""


def run(
    labels: StrPath, output: StrPath, *, images: StrPath | None = None, anatomy: StrPath = "heart",
    structures: Names = (), unknown_labels: UnknownLabels = "error", preset: Preset = "mend",
    config: Config | StrPath | None = None, stop_after: StageName = "unify", resume: bool = True,
    device: str = "auto", devices: int = 1, workers: int = 0, scheduler: str = "", progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "", trusted: StrPath | None = None,
    convention: StrPath | None = None, prior: StrPath = "", uncertainty: bool = False, segments: bool = False,
) -> Result:  # fmt: skip
    """Repair all label maps of a data set, as `heartmend run`.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set. It is never written to.
        output: OUT, the folder of the result; a run that is in it is continued.
        images: folder of CTs.
        anatomy: name of a built-in anatomy (heart, adrenal), or path of an anatomy file.
        structures: names of the structures to repair; all of them if empty.
        unknown_labels: label ids that the anatomy does not have: "error" skips the case, "keep" keeps their voxels.
        preset: mend, fast (coarser and quicker), or reference (settings of the NeAR project).
        config: path of a TOML file that changes the preset, or settings, which replace it.
        stop_after: the last stage: prepare, fit, refine, correct, fuse or unify.
        resume: whether a run that is in the output folder is continued; otherwise it is an error.
        device: auto, cpu, cuda, cuda:1, ...
        devices: number of GPUs of this machine that fit together.
        workers: number of worker processes; 0: one per CPU core.
        scheduler: Dask cluster for the work on single cases: its address, its file, or slurm.
        progress: receiver of progress reports, a function `(task, done, total, note)`, or tqdm's class.
        ids: which structure each value of the label maps is, such as {205: "Myocardium"}, or a TOML or JSON file.
        preset_ids: name of a public data set whose values the label maps have, such as mmwhs.
        trusted: folder of label maps of three or more of the cases that an expert drew.
        convention: file of a correction that is applied to all cases (`heartmend convention`).
        prior: "auto" takes the heart that is part of Heartmend as the template of one or two cases; "none" never; or
            a model file, or the folder of a run that made one, for any number of cases. As in `config` if empty.
        uncertainty: whether the probability of an error of each voxel is written to OUT/uncertainty.
        segments: whether the segments of the coronary arteries are written to OUT/segments, with the ids of ImageCAS-X.

    Returns:
        The result: the cases that are done, those that were skipped with the reasons, warnings, and `table()`.

    Raises:
        ConfigError: if a setting or an option is not valid.
        HeartmendError: if nothing could be done at all.
    """
    from heartmend.pipelines.run import STAGES, Request
    from heartmend.pipelines.run import run as run_pipeline

    _check_choice("stop_after", stop_after, STAGES)
    _check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    request = Request(
        Path(labels), Path(output), _optional(images), str(anatomy), _names(structures), unknown_labels, device,
        devices, workers, scheduler, stop_after, resume, _ids(ids), preset_ids, _optional(trusted),
        _optional(convention), str(prior),
    )  # fmt: skip
    settings = _config(preset, config)
    if written := {name: True for name, wanted in (("uncertainty", uncertainty), ("segments", segments)) if wanted}:
        settings = settings.model_copy(update={"fuse": settings.fuse.model_copy(update=written)})
    return run_pipeline(request, settings, as_progress(progress))


def embed(
    model: StrPath, labels: StrPath, output: StrPath, *, unknown_labels: UnknownLabels = "error",
    complete: bool = False, workers: int = 0, seed: int = 0, progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "", uncertainty: bool = False,
) -> Result:  # fmt: skip
    """Repair label maps of new patients with a trained model, as `heartmend embed`.

    Args:
        model: a model file, or the folder of a run that made one.
        labels: folder of the label maps.
        output: OUT, the folder of the result.
        unknown_labels: label ids that the anatomy does not have: "error" skips the case, "keep" keeps their voxels.
        complete: add structures that a label map lacks from the model, where the map has background.
        workers: number of worker processes; 0: one per CPU core.
        seed: seed of all random draws.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.
        uncertainty: as for `run`.

    Returns:
        The result.

    Raises:
        HeartmendError: if nothing could be done at all.
    """
    from heartmend.pipelines.embed import EmbedRequest
    from heartmend.pipelines.embed import embed as embed_pipeline
    from heartmend.run_folder.folder import model_file
    from heartmend.stages.embed import EmbedSettings

    _check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    request = EmbedRequest(
        model_file(Path(model)), Path(labels), Path(output), unknown_labels, workers, seed, _ids(ids), preset_ids,
        uncertainty,
    )  # fmt: skip
    return embed_pipeline(request, EmbedSettings(complete=complete), as_progress(progress))


def merge(
    label_sets: Sequence[StrPath], output: StrPath, *, images: StrPath | None = None, anatomy: StrPath = "heart",
    preset: Preset = "fast", config: Config | StrPath | None = None, device: str = "auto", workers: int = 0,
    progress: ProgressLike = None,
) -> MergeResult:  # fmt: skip
    """Merge several label sets of the same scans into one, as `heartmend merge`.

    Args:
        label_sets: two or more folders of label maps; the first gives names, headers and values of the result.
        output: folder for the result; gets labels/ and disagreement/.
        images: folder of CTs.
        anatomy: name of a built-in anatomy, or path of an anatomy file.
        preset: as for `run`.
        config: as for `run`.
        device: as for `run`.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        The merged cases, those that were skipped with the reasons, and the share of each label set.

    Raises:
        BadInputError: if there are too few label sets or cases.
        RunError: if the output folder overlaps an input folder or contains a run, or no template was fitted.
    """
    from heartmend.pipelines.merge import MergeRequest, merge_label_sets

    if isinstance(label_sets, str | PathLike):
        raise ConfigError(f"label_sets={str(label_sets)!r}: give a list of two or more folders")
    folders = tuple(Path(folder) for folder in label_sets)
    request = MergeRequest(folders, Path(output), _optional(images), str(anatomy), device, workers)
    return merge_label_sets(request, _config(preset, config), as_progress(progress))


def learn_convention(
    labels: StrPath, wanted: StrPath, output: StrPath, *, anatomy: StrPath = "heart", preset: Preset = "mend",
    config: Config | StrPath | None = None, device: str = "auto", workers: int = 0, progress: ProgressLike = None,
) -> SharedErrors:  # fmt: skip
    """Learn the correction from one labelling convention to another, as `heartmend convention`.

    Args:
        labels: folder of label maps in the convention of other data sets.
        wanted: folder of label maps of three or more of the same scans as they should be.
        output: file for the correction, which `run` takes as `convention`.
        anatomy: name of a built-in anatomy, or path of an anatomy file.
        preset: as for `run`.
        config: as for `run`.
        device: as for `run`.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        What the two conventions differ in, by region of the surface.

    Raises:
        BadInputError: if the label sets cannot be used.
        RunError: if no template was fitted.
    """
    from heartmend.pipelines.convention import ConventionRequest
    from heartmend.pipelines.convention import learn_convention as learn

    request = ConventionRequest(Path(labels), Path(wanted), Path(output), str(anatomy), device, workers)
    return learn(request, _config(preset, config), as_progress(progress))


def evaluate(
    a: StrPath, b: StrPath, reference: StrPath | None = None, *, anatomy: StrPath | Anatomy = "heart",
    unknown_labels: UnknownLabels = "error", tolerances_mm: Sequence[float] = (0.5, 1, 2, 3), metrics: Names = (),
    workers: int = 0, scheduler: str = "", progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> Evaluation:  # fmt: skip
    """Compare two sets of label maps, or both with a reference, as `heartmend evaluate`.

    Args:
        a: folder of label maps, nnU-Net v2 data set, or the folder of a run.
        b: another one, which is compared with a.
        reference: a third one, such as the ground truth.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        unknown_labels: label ids that the anatomy does not have: "error" skips the case, "keep" counts them as
            background.
        tolerances_mm: tolerances of the surface Dice in mm.
        metrics: keys of the metrics to compute, such as dice and hd95_mm; all of them if empty.
        workers: number of worker processes; 0: one per CPU core.
        scheduler: Dask cluster for the work on single cases: its address, its file, or slurm.
        progress: as for `run`.
        ids: as for `run`, for all folders but runs, which have their own.
        preset_ids: as for `run`, for the same folders.

    Returns:
        The evaluation, with `to_pandas()` and `to_csv(path)`.

    Raises:
        BadInputError: if no case can be compared.
        ConfigError: for an unknown metric or tolerance.
    """
    from heartmend.compute.cluster import scheduled
    from heartmend.metrics.evaluation import EvaluationSettings
    from heartmend.pipelines.evaluate import evaluate_folders

    _check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    settings = EvaluationSettings(tuple(tolerances_mm), _names(metrics), unknown_labels, workers, _ids(ids), preset_ids)
    folders = Path(a), Path(b), _anatomy(anatomy), _optional(reference)
    with scheduled(scheduler, workers):
        return evaluate_folders(*folders, settings, as_progress(progress))


def check(
    labels: StrPath, *, images: StrPath | None = None, anatomy: StrPath | Anatomy = "heart",
    unknown_labels: UnknownLabels = "error", run_folder: StrPath | None = None, workers: int = 0,
    progress: ProgressLike = None, ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> DataSetReport:  # fmt: skip
    """Check a data set before a run, as `heartmend check`; nothing is written.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        images: folder of CTs.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        unknown_labels: label ids that the anatomy does not have: "error" or "keep".
        run_folder: output folder of a later run, to check whether it can be written to.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.

    Returns:
        What a run would skip, and what is unusual.

    Raises:
        BadInputError: if there is no label map.
    """
    from heartmend.quality.check import check_data_set

    _check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    return check_data_set(
        Path(labels), _optional(images), _anatomy(anatomy), unknown_labels, _optional(run_folder), workers,
        as_progress(progress), _ids(ids), preset_ids,
    )  # fmt: skip


def screen(
    labels: StrPath, *, images: StrPath | None = None, trusted: StrPath | None = None, anatomy: StrPath = "heart",
    unknown_labels: UnknownLabels = "error", quick: bool = False, preset: Preset = "fast",
    config: Config | StrPath | None = None, run_folder: StrPath | None = None, device: str = "auto", workers: int = 0,
    progress: ProgressLike = None, ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> Ranking:  # fmt: skip
    """Rank the labels of a data set by their expected error, as `heartmend screen`; nothing is repaired.

    Args:
        labels: folder of label maps, an nnU-Net v2 data set, or the folder of a run.
        images: folder of CTs, whose edges show errors that all cases share; not used for a run.
        trusted: folder of label maps of three or more of the cases that an expert drew; not used for a run.
        anatomy: name of a built-in anatomy, or path of an anatomy file.
        unknown_labels: label ids that the anatomy does not have: "error" skips the case, "keep" keeps their voxels.
        quick: without a fit: each label map by itself.
        preset: as for `run`.
        config: as for `run`.
        run_folder: where the prepared cases and the fit are kept for a later run; a temporary folder if None.
        device: as for `run`.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`; not used for a run, which has its own.
        preset_ids: as for `run`; not used for a run.

    Returns:
        The ranking, with the reasons.

    Raises:
        HeartmendError: if no label map could be used.
    """
    from heartmend.pipelines.run import Request
    from heartmend.quality.screen import screen_in_temporary_folder, screen_labels, screen_run
    from heartmend.run_folder.folder import is_run

    _check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    folder, receiver = Path(labels), as_progress(progress)
    if is_run(folder):
        return screen_run(folder, quick, workers, receiver)
    request = Request(
        folder, Path(run_folder or ""), _optional(images), str(anatomy), unknown_labels=unknown_labels, device=device,
        workers=workers, ids=_ids(ids), preset_ids=preset_ids, trusted=_optional(trusted),
    )  # fmt: skip
    screened = screen_in_temporary_folder if run_folder is None else screen_labels
    return screened(request, _config(preset, config), quick, receiver)


def load_model(path: StrPath) -> HeartModel:
    """Load a trained model.

    Args:
        path: a model file, or the folder of a run that made one.

    Returns:
        The model, with `render(case_id, spacing_mm=...)` and `mesh(case_id)`.

    Raises:
        BadInputError: if the file is not a model, or is damaged.
        RunError: if the run has no model.
    """
    from heartmend.models.model_file import load_heart_model
    from heartmend.run_folder.folder import model_file

    return load_heart_model(model_file(Path(path)))


def make_phantoms(
    output: StrPath, *, count: int = 12, seed: int = 1, spacing_mm: float = 0.9, venae_cavae: bool = False,
    workers: int = 0, progress: ProgressLike = None,
) -> Phantoms:  # fmt: skip
    """Generate phantom hearts with CTs, true and corrupted label maps, as `heartmend phantom`.

    Args:
        output: folder for the result; gets labels_noisy/, labels_true/, images/ and cases.csv.
        count: number of hearts.
        seed: seed of the random numbers. A larger cohort of the same seed starts with the same hearts.
        spacing_mm: voxel size in mm, 0.4 to 3.
        venae_cavae: whether the hearts have the superior and inferior vena cava, with the values 11 and 12.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.

    Returns:
        The folders and the ids of the cases.

    Raises:
        ConfigError: if the count or the spacing is out of range.
    """
    from heartmend.compute.workers import available_cores
    from heartmend.phantom.cohort import PhantomSettings, write_cohort
    from heartmend.pipelines.result import Phantoms

    if count < 1:
        raise ConfigError(f"count={count}: give the number of hearts, at least 1")
    if not 0.4 <= spacing_mm <= 3:
        raise ConfigError(f"spacing_mm={spacing_mm}: give a voxel size from 0.4 to 3 mm")
    folder, settings = Path(output), PhantomSettings(spacing_mm, venae_cavae=venae_cavae)
    ids = write_cohort(folder, count, seed, settings, workers or available_cores(), as_progress(progress))
    return Phantoms(folder / "labels_noisy", folder / "labels_true", folder / "images", tuple(ids))


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

    finished = FinishedRun.open(Path(run_folder), _optional(labels), _optional(images))
    selection = CaseSelection(_names(cases), worst, most_changed)
    with scheduled(scheduler, workers):
        return write_report_files(
            finished, Path(output or Path(run_folder) / "report"), reference=_optional(reference), selection=selection,
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

    layouts: frozenset[Layout] = frozenset(layout for layout in LAYOUTS if layout in _names(formats))
    for name in _names(formats):
        _check_choice("formats", name, LAYOUTS)
    _check_choice("undecided", undecided, UNDECIDED)
    ct: Images = "none" if not with_images else "copy" if copy_images else "link"
    receiver, training = as_progress(progress), TrainingOptions(ct, ignore_above)
    finished = FinishedRun.open(Path(run_folder), _optional(labels), _optional(images))
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
    from heartmend.run_folder.decisions import user_name
    from heartmend.run_folder.decisions_table import import_decisions

    receiver = as_progress(progress)
    finished = _ready_for_review(run_folder, labels, images, workers, receiver)
    if Path(source).is_file():
        return ImportResult({}, {}, import_decisions(Path(source), finished).written)
    maps = import_corrected(finished, Path(source), by or user_name(), receiver)
    done = {one.case: one.structures for one in maps if not one.error}
    return ImportResult(done, {one.case: one.error for one in maps if one.error})


def draw_population(
    model: StrPath | HeartModel, output: StrPath, *, between: Names = (), modes: int = 3, progress: ProgressLike = None,
) -> list[Path]:  # fmt: skip
    """Draw the mean shape, the shape modes and the outliers of a model, as `heartmend population`.

    Args:
        model: a model, its file, or the folder of a run that made one.
        output: folder of the figures and of hearts.csv.
        between: ids of two cases whose interpolation is drawn too.
        modes: number of principal shape modes, at most 10.
        progress: as for `run`.

    Returns:
        The files.

    Raises:
        ConfigError: if a case is unknown, or the model has too few hearts.
        BadInputError: if the file is not a model, or is damaged.
    """
    from heartmend.figures.population import draw_population as draw

    if len(pair := _names(between)) not in (0, 2):
        raise ConfigError(f"between={between!r}: give the ids of two cases")
    if not 0 <= modes <= 10:
        raise ConfigError(f"modes={modes}: give a number from 0 to 10")
    known = load_model(model) if isinstance(model, str | PathLike) else model
    return draw(known, Path(output), pair, modes, as_progress(progress))


def crop(
    labels: StrPath, output: StrPath, *, images: StrPath | None = None, anatomy: StrPath | Anatomy = "heart",
    resolution: int = 256, workers: int = 0, progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> CropResult:  # fmt: skip
    """Crop every case to its ROI and resample it to a cube, as `heartmend crop`; nothing is repaired.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        output: folder for the result; gets labels/ and images/.
        images: folder of CTs.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        resolution: voxels along each side of the cubes, at least 2.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.

    Returns:
        The cropped cases, and those that were skipped with the reasons.

    Raises:
        ConfigError: if the resolution is too low.
        BadInputError: if there is no case.
        RunError: if the output folder overlaps an input folder, or contains a run.
    """
    from heartmend.pipelines.crop import CropRequest, crop_cohort
    from heartmend.pipelines.result import CropResult

    if resolution < 2:
        raise ConfigError(f"resolution={resolution}: give the voxels along each side, at least 2")
    request = CropRequest(
        Path(labels), Path(output), _anatomy(anatomy), resolution, _optional(images), workers, _ids(ids), preset_ids
    )
    outcomes = dict(crop_cohort(request, as_progress(progress)))
    done = tuple(sorted(case_id for case_id, error in outcomes.items() if error is None))
    return CropResult(Path(output), done, {id: str(error) for id, error in outcomes.items() if error is not None})


def centrelines(
    labels: StrPath, output: StrPath, *, anatomy: StrPath | Anatomy = "heart", formats: Sequence[str] = ("vtp",),
    segments: bool = False, workers: int = 0, progress: ProgressLike = None,
    ids: StrPath | Mapping[int, str] | None = None, preset_ids: str = "",
) -> CropResult:  # fmt: skip
    """Write the centrelines of thin vessels with their radius, as `heartmend centrelines`; nothing is repaired.

    Args:
        labels: folder of label maps, an nnU-Net v2 data set, or the output folder of a run.
        output: folder for the result.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        formats: of vtp, swc and mrk.json.
        segments: whether label maps of the named coronary segments are written too.
        workers: number of worker processes; 0: one per CPU core.
        progress: as for `run`.
        ids: as for `run`.
        preset_ids: as for `run`.

    Returns:
        The traced cases, and those that were skipped with the reasons.

    Raises:
        BadInputError: if there is no case.
        ConfigError: if a format is unknown, or the anatomy has no thin vessel.
        RunError: if the output folder overlaps the input folder, or contains a run.
    """
    from heartmend.pipelines.centrelines import CentrelinesRequest, trace_cohort
    from heartmend.pipelines.result import CropResult

    request = CentrelinesRequest(
        Path(labels), Path(output), _anatomy(anatomy), tuple(formats), segments, workers, _ids(ids), preset_ids
    )
    outcomes = dict(trace_cohort(request, as_progress(progress)))
    done = tuple(sorted(case_id for case_id, error in outcomes.items() if error is None))
    return CropResult(Path(output), done, {id: str(error) for id, error in outcomes.items() if error is not None})


def _ready_for_review(
    run_folder: StrPath, labels: StrPath | None, images: StrPath | None, workers: int, progress: Progress
) -> FinishedRun:
    """Open a run and write the review files of its cases."""
    from heartmend.review.case_cache import make_ready
    from heartmend.run_folder.finished import FinishedRun

    finished = FinishedRun.open(Path(run_folder), _optional(labels), _optional(images))
    for case_id, reason in make_ready(finished, workers, progress).items():
        log.warning("case %s cannot be reviewed: %s", case_id, reason)
    return finished


def _optional(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _ids(ids: StrPath | Mapping[int, str] | None) -> Path | Mapping[int, str] | None:
    return ids if ids is None or isinstance(ids, Mapping) else Path(ids)


def _names(given: Names) -> tuple[str, ...]:
    if isinstance(given, str):
        given = given.split(",")
    return tuple(name.strip() for name in given if name.strip())


def _anatomy(anatomy: StrPath | Anatomy) -> Anatomy:
    return anatomy if isinstance(anatomy, Anatomy) else load_anatomy(anatomy)


def _config(preset: str, config: Config | StrPath | None) -> Config:
    from heartmend.pipelines.config import Config, load_config

    return config if isinstance(config, Config) else load_config(preset, _optional(config))


def _check_choice(name: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise ConfigError(f"{name}={given!r}: give one of {', '.join(allowed)}")
