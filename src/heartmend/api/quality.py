"""Label maps are judged and compared; nothing is repaired: `evaluate`, `check` and `screen`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from heartmend.anatomy.schema import Anatomy
from heartmend.api.arguments import (
    Names,
    Preset,
    ProgressLike,
    StrPath,
    as_anatomy,
    as_config,
    as_ids,
    as_names,
    as_path,
    check_choice,
)
from heartmend.compute.progress import as_progress
from heartmend.io.label_maps import UnknownLabels

if TYPE_CHECKING:
    from heartmend.metrics.evaluation import Evaluation
    from heartmend.pipelines.config import Config
    from heartmend.quality.check import DataSetReport
    from heartmend.quality.ranking import Ranking


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

    check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    settings = EvaluationSettings(
        tuple(tolerances_mm), as_names(metrics), unknown_labels, workers, as_ids(ids), preset_ids
    )
    folders = Path(a), Path(b), as_anatomy(anatomy), as_path(reference)
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

    check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    return check_data_set(
        Path(labels), as_path(images), as_anatomy(anatomy), unknown_labels, as_path(run_folder), workers,
        as_progress(progress), as_ids(ids), preset_ids,
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

    check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    folder, receiver = Path(labels), as_progress(progress)
    if is_run(folder):
        return screen_run(folder, quick, workers, receiver)
    request = Request(
        folder, Path(run_folder or ""), as_path(images), str(anatomy), unknown_labels=unknown_labels, device=device,
        workers=workers, ids=as_ids(ids), preset_ids=preset_ids, trusted=as_path(trusted),
    )  # fmt: skip
    screened = screen_in_temporary_folder if run_folder is None else screen_labels
    return screened(request, as_config(preset, config), quick, receiver)
