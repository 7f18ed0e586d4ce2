"""The pipeline that repairs label maps of new patients with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.resources import Compute
from heartmend.compute.workers import keep_freed_memory
from heartmend.io.dataset import Case, discover_cohort
from heartmend.io.file_names import real_path
from heartmend.io.label_maps import UnknownLabels
from heartmend.models.model_file import load_heart_model
from heartmend.pipelines.command_line import command_line
from heartmend.pipelines.driver import PipelineStep, run_steps
from heartmend.pipelines.result import Result
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.records import CohortStatistics
from heartmend.stages.contract import Context, RunPlan
from heartmend.stages.embed import ENCODE, PLACE, EmbedSettings, encode, place
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stage import fuse
from heartmend.stages.prepare import PrepareSettings, prepare
from heartmend.stages.refine import RefineSettings, refine


@dataclass(frozen=True)
class EmbedRequest:
    """Inputs and options of an embedding; see `heartmend embed --help`.

    Attributes:
        model: file of the model.
        labels: folder of the label maps of new patients.
        output: OUT, the folder of the result.
        unknown_labels: what to do with label values that the anatomy does not have: `error` or `keep`.
        workers: worker processes; 0: one per CPU core.
        seed: of all random draws.
        ids: value of the label maps -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label maps have, such as `mmwhs`; empty: none.
        uncertainty: whether the probability of an error of each voxel is written.
    """

    model: Path
    labels: Path
    output: Path
    unknown_labels: UnknownLabels = "error"
    workers: int = 0
    seed: int = 0
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""
    uncertainty: bool = False


def embed(request: EmbedRequest, settings: EmbedSettings | None = None, progress: Progress | None = None) -> Result:
    """Repair label maps with a model whose weights stay frozen, into OUT/labels.

    OUT is a run like any other: `heartmend explain`, `render` and `mesh` work on it. A case with an error never stops
    the others.

    Args:
        request: what to embed.
        settings: settings of the stage `embed`; None: the defaults.
        progress: receiver of progress reports.

    Returns:
        The result.

    Raises:
        BadInputError: if the model or the label maps cannot be used.
        RunError: if no case could be used.
    """
    keep_freed_memory()
    settings = settings or EmbedSettings()
    model = load_heart_model(request.model)
    cohort = discover_cohort(
        request.labels, anatomy=model.anatomy, unknown_labels=request.unknown_labels, ids=request.ids,
        preset_ids=request.preset_ids,
    )  # fmt: skip
    plan = RunPlan(
        shaped=model.anatomy.select(without_kinds=("tube",)),
        statistics=CohortStatistics(model.calibres, model.lowest_surface_noise_mm2),
        model=real_path(request.model), seed=request.seed,
    )  # fmt: skip
    steps = [
        PipelineStep("prepare", prepare, PrepareSettings(), then=_with_colours),
        PipelineStep(PLACE, place, settings),
        PipelineStep("refine", refine, RefineSettings()),
        PipelineStep("fuse", fuse, FuseSettings(uncertainty=request.uncertainty)),
        PipelineStep(ENCODE, encode, settings),
    ]
    with RunFolder.open(request.output, request.labels) as folder:
        table = {"embed": settings.model_dump(mode="json"), "model": request.model.name, "seed": request.seed}
        folder.write_settings(table)
        folder.note_start(command_line("embed", request))
        folder.write_versions()
        folder.write_cohort(cohort)
        folder.write_anatomy(model.anatomy)
        context = Context[Any](folder, cohort, settings, plan, Compute(request.workers), progress or NoProgress())
        skipped = run_steps(steps, context)
        done = tuple(case.id for case in cohort if case.id not in skipped)
        folder.write_estimates(done)
        return Result(folder.output, done, skipped, folder.warnings())


def _with_colours(context: Context[Any], cases: Sequence[Case]) -> Context[Any]:
    """Write the colour tables, in the numbering of the label maps as they were read."""
    names = {case.id: context.run.facts(case.id).value_names for case in cases}
    context.run.write_colours(context.cohort.anatomy, names)
    return context
