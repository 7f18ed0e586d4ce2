"""The Python front door: the commands as functions, on paths and on arrays, with the words of the command line."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import Progress, as_progress

if TYPE_CHECKING:
    from heartmend.metrics.evaluation import Evaluation
    from heartmend.models.heart_model import HeartModel
    from heartmend.pipelines.config import Config
    from heartmend.pipelines.result import Result
    from heartmend.quality.check import DataSetReport
    from heartmend.quality.ranking import Ranking

StrPath = str | PathLike[str]
ProgressLike = Progress | Callable[[str, int, int, str], None] | type | None
"""A `heartmend.compute.progress.Progress`, a function `(task, done, total, note)`, or tqdm's class."""


def run(
    labels: StrPath, output: StrPath, *, images: StrPath | None = None, stop_after: str = "unify",
    config: Config | str | StrPath = "mend", progress: ProgressLike = None, **options: Any,
) -> Result:  # fmt: skip
    """Repair all label maps of a data set, as `heartmend run`.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set. It is never written to.
        output: OUT, the folder of the result; a run that is there is continued.
        images: folder of CTs.
        stop_after: the last stage: prepare, fit, refine, fuse or unify.
        config: a preset (mend, fast or reference), the path of a TOML file, or settings.
        progress: receiver of progress reports, a function `(task, done, total, note)`, or tqdm's class.
        options: further fields of `heartmend.pipelines.run.Request`: anatomy, structures, unknown_labels, device,
            devices, workers, scheduler, resume.

    Returns:
        The result: the cases that are done, those that were skipped with the reasons, warnings, and `table()`.

    Raises:
        ConfigError: if a setting or an option is not valid.
        HeartmendError: if nothing could be done at all.
    """
    from heartmend.errors import ConfigError
    from heartmend.pipelines.run import STAGES, Request
    from heartmend.pipelines.run import run as run_pipeline

    if stop_after not in STAGES:
        raise ConfigError(f"stop_after={stop_after!r}: give one of {', '.join(STAGES)}")
    if unknown := options.keys() - Request.__dataclass_fields__.keys():
        raise ConfigError(f"run has no option {', '.join(sorted(unknown))}; see heartmend.pipelines.run.Request")
    if isinstance(options.get("structures"), str):
        options["structures"] = tuple(name.strip() for name in options["structures"].split(","))
    images_dir = None if images is None else Path(images)
    request = Request(Path(labels), Path(output), images_dir, stop_after=stop_after, **options)  # type: ignore[arg-type]
    return run_pipeline(request, as_config(config), as_progress(progress))


def embed(
    model: StrPath, labels: StrPath, output: StrPath, *, complete: bool = False, progress: ProgressLike = None,
    **options: Any,
) -> Result:  # fmt: skip
    """Repair label maps of new patients with a trained model, as `heartmend embed`.

    Args:
        model: a model file, or the folder of a run that is unified.
        labels: folder of the label maps.
        output: OUT, the folder of the result.
        complete: add structures that a label map lacks from the model, where the map has background.
        progress: as for `run`.
        options: further fields of `heartmend.pipelines.embed.EmbedRequest`: unknown_labels, workers, seed.

    Returns:
        The result.

    Raises:
        HeartmendError: if nothing could be done at all.
    """
    from heartmend.pipelines.embed import EmbedRequest
    from heartmend.pipelines.embed import embed as embed_pipeline
    from heartmend.run_folder.folder import model_file
    from heartmend.stages.embed import EmbedSettings

    request = EmbedRequest(model_file(Path(model)), Path(labels), Path(output), **options)
    return embed_pipeline(request, EmbedSettings(complete=complete), as_progress(progress))


def evaluate(
    a: StrPath, b: StrPath, reference: StrPath | None = None, *, anatomy: str | Anatomy = "heart",
    progress: ProgressLike = None, **settings: Any,
) -> Evaluation:  # fmt: skip
    """Compare two sets of label maps, or both with a reference, as `heartmend evaluate`.

    Args:
        a: folder of label maps, nnU-Net v2 data set, or the folder of a run.
        b: another one, which is compared with a.
        reference: a third one, such as the ground truth.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        progress: as for `run`.
        settings: fields of `heartmend.metrics.EvaluationSettings`: tolerances_mm, metrics, unknown_labels, workers.

    Returns:
        The evaluation, with `to_pandas()` and `to_csv(path)`.

    Raises:
        BadInputError: if no case can be compared.
    """
    from heartmend.metrics.evaluation import EvaluationSettings
    from heartmend.pipelines.evaluate import evaluate_folders

    against = None if reference is None else Path(reference)
    return evaluate_folders(
        Path(a), Path(b), as_anatomy(anatomy), against, EvaluationSettings(**settings), as_progress(progress)
    )


def check(
    labels: StrPath, *, images: StrPath | None = None, anatomy: str | Anatomy = "heart",
    output: StrPath | None = None, progress: ProgressLike = None,
) -> DataSetReport:  # fmt: skip
    """Check a data set before a run, as `heartmend check`; nothing is written.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        images: folder of CTs.
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.
        output: where the result of a run would be written, to be checked too.
        progress: as for `run`.

    Returns:
        What a run would skip, and what is unusual.

    Raises:
        BadInputError: if there is no label map.
    """
    from heartmend.quality.check import check_data_set

    paths = (None if path is None else Path(path) for path in (images, output))
    images_dir, output_dir = paths
    return check_data_set(
        Path(labels), images_dir, as_anatomy(anatomy), output=output_dir, progress=as_progress(progress)
    )


def screen(
    labels: StrPath, *, anatomy: str = "heart", config: Config | str | StrPath = "mend", quick: bool = False,
    progress: ProgressLike = None,
) -> Ranking:  # fmt: skip
    """Rank the labels of a data set by how likely they are wrong, as `heartmend screen`; nothing is repaired.

    Args:
        labels: folder of label maps, an nnU-Net v2 data set, or the folder of a run.
        anatomy: name of a built-in anatomy, or path of an anatomy file.
        config: as for `run`.
        quick: leave the fit out.
        progress: as for `run`.

    Returns:
        The ranking, with the reasons.

    Raises:
        HeartmendError: if no label map could be used.
    """
    from heartmend.pipelines.run import Request
    from heartmend.quality.screen import screen_in_temporary_folder, screen_run
    from heartmend.run_folder.folder import labels_folder

    folder, receiver = Path(labels), as_progress(progress)
    if labels_folder(folder) != folder:
        return screen_run(folder, quick, progress=receiver)
    return screen_in_temporary_folder(Request(folder, Path(), anatomy=anatomy), as_config(config), quick, receiver)


def load_model(path: StrPath) -> HeartModel:
    """Load a trained model.

    Args:
        path: a model file, or the folder of a run that is unified.

    Returns:
        The model, with `render(case_id, spacing_mm=...)` and `mesh(case_id)`.

    Raises:
        BadInputError: if the file is no model, or damaged.
        RunError: if the run has no model.
    """
    from heartmend.models.model_file import load_heart_model
    from heartmend.run_folder.folder import model_file

    return load_heart_model(model_file(Path(path)))


def as_anatomy(anatomy: str | Anatomy) -> Anatomy:
    """Load an anatomy by name or path; an anatomy stays as it is."""
    return anatomy if isinstance(anatomy, Anatomy) else load_anatomy(anatomy)


def as_config(config: Config | str | StrPath) -> Config:
    """Load settings by the name of a preset, or from a TOML file; settings stay as they are."""
    from heartmend.pipelines.config import PRESETS, Config, load_config

    if isinstance(config, Config):
        return config
    if config in PRESETS:
        return load_config(str(config))
    return load_config("mend", Path(config))
