"""Label maps are repaired: `run`, `embed`, `merge` and `learn_convention`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from heartmend.api.arguments import (
    Names,
    Preset,
    ProgressLike,
    StrPath,
    as_config,
    as_ids,
    as_names,
    as_path,
    check_choice,
)
from heartmend.compute.progress import as_progress
from heartmend.errors import ConfigError
from heartmend.io.label_maps import UnknownLabels

if TYPE_CHECKING:
    from heartmend.pipelines.config import Config
    from heartmend.pipelines.merge import MergeResult
    from heartmend.pipelines.result import Result
    from heartmend.pipelines.run import StageName
    from heartmend.repair.shared_errors.report import SharedErrors


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

    check_choice("stop_after", stop_after, STAGES)
    check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    request = Request(
        Path(labels), Path(output), as_path(images), str(anatomy), as_names(structures), unknown_labels, device,
        devices, workers, scheduler, stop_after, resume, as_ids(ids), preset_ids, as_path(trusted),
        as_path(convention), str(prior),
    )  # fmt: skip
    settings = as_config(preset, config)
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

    check_choice("unknown_labels", unknown_labels, get_args(UnknownLabels))
    request = EmbedRequest(
        model_file(Path(model)), Path(labels), Path(output), unknown_labels, workers, seed, as_ids(ids), preset_ids,
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
        ConfigError: if `label_sets` is one path, or a setting is not valid.
        BadInputError: if there are too few label sets or cases.
        RunError: if the output folder overlaps an input folder or contains a run, or no template was fitted.
    """
    from heartmend.pipelines.merge import MergeRequest, merge_label_sets

    if isinstance(label_sets, str | PathLike):
        raise ConfigError(f"label_sets={str(label_sets)!r}: give a list of two or more folders")
    folders = tuple(Path(folder) for folder in label_sets)
    request = MergeRequest(folders, Path(output), as_path(images), str(anatomy), device, workers)
    return merge_label_sets(request, as_config(preset, config), as_progress(progress))


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
    return learn(request, as_config(preset, config), as_progress(progress))
