"""The pipeline that repairs a data set: prepare, fit, refine, fuse, unify."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.cluster import scheduled
from heartmend.compute.process_group import ProcessGroup, process_group
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.resources import Compute
from heartmend.compute.workers import available_cores, keep_freed_memory
from heartmend.errors import BadInputError, ConfigError, RunError
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.file_names import real_path
from heartmend.io.label_maps import UnknownLabels
from heartmend.io.unread_files import describe_unread
from heartmend.models.model_file import load_heart_model
from heartmend.models.prior import built_in_priors, check_prior
from heartmend.pipelines.command_line import command_line
from heartmend.pipelines.config import Config
from heartmend.pipelines.driver import PipelineStep, run_steps
from heartmend.pipelines.estimate import RunEstimate, run_bytes, run_seconds
from heartmend.pipelines.result import Result
from heartmend.pipelines.trusted import check_convention, find_trusted
from heartmend.repair.shape_label_fusion import PRIOR_LOCAL_MISFIT
from heartmend.run_folder.admission import check_no_overlap
from heartmend.run_folder.folder import RunFolder, model_file
from heartmend.run_folder.paths import REFERENCE
from heartmend.stages.contract import Context, Outcome, RunPlan
from heartmend.stages.correct import correct
from heartmend.stages.embed import EmbedSettings, place
from heartmend.stages.fit.stage import FitSettings, fit
from heartmend.stages.fuse.reference import learn_reference
from heartmend.stages.fuse.stage import fuse
from heartmend.stages.prepare import prepare
from heartmend.stages.refine import RefineSettings, refine
from heartmend.stages.unify import unify
from heartmend.training.schedule import Phase
from heartmend.wording import plural

log = logging.getLogger(__name__)

MAX_PRIOR_CASES = 2
"""With more cases the template that they share is better than the heart of another person (docs/results/prior.md)."""
STAGES = ("prepare", "fit", "refine", "correct", "fuse", "unify")
StageName = Literal["prepare", "fit", "refine", "correct", "fuse", "unify"]


@dataclass(frozen=True)
class Request:
    """Inputs and options of a run; see `heartmend run --help`.

    Attributes:
        labels: folder of label maps, or an nnU-Net v2 data set.
        output: OUT, the folder of the result.
        images: folder of CTs; None: labels alone.
        anatomy: name of a built-in anatomy, or the path of an anatomy file.
        structures: names of the structures to repair; empty: all of them.
        unknown_labels: what to do with label values that the anatomy does not have: `error` or `keep`.
        device: `auto`, `cpu`, `cuda` or `cuda:1`; for the fits.
        devices: number of GPUs of this machine that fit together.
        workers: worker processes for work on single cases; 0: one per CPU core.
        scheduler: of a Dask cluster that does this work instead: its address, its file, or `slurm`.
        stop_after: the last stage.
        resume: whether a run that is there is continued.
        ids: value of the label maps -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label maps have, such as `mmwhs`; empty: none.
        trusted: folder of label maps of a few of the cases that are taken for true, such as those that an expert drew.
        convention: file of a correction that another run learned (`heartmend convention`).
        prior: `auto` takes the prior that is part of Heartmend as the template of one or two cases; `none` never; or
            the file of a model that is the template for any number of cases; empty: as the settings have it.
    """

    labels: Path
    output: Path
    images: Path | None = None
    anatomy: str = "heart"
    structures: tuple[str, ...] = ()
    unknown_labels: UnknownLabels = "error"
    device: str = "auto"
    devices: int = 1
    workers: int = 0
    scheduler: str = ""
    stop_after: StageName = "unify"
    resume: bool = True
    ids: Path | Mapping[int, str] | None = None
    preset_ids: str = ""
    trusted: Path | None = None
    convention: Path | None = None
    prior: str = ""


def run(
    request: Request,
    config: Config | None = None,
    progress: Progress | None = None,
    announce: Callable[[RunEstimate], None] | None = None,
) -> Result:
    """Repair the label maps of a folder into OUT/labels. Continues with what is there already.

    A case with an error never stops the others: it is listed in `Result.skipped` and in OUT/run/skipped.json, and an
    older result of it is moved to OUT/run/withdrawn.

    Args:
        request: what to do.
        config: the settings; None: the defaults.
        progress: receiver of progress reports.
        announce: gets the estimate of time and disk space before the first stage starts.

    Returns:
        The result.

    Raises:
        HeartmendError: if nothing could be done at all; OutputError among them where the disk is full.
    """
    keep_freed_memory()
    with process_group(resolve_device(request.device), request.devices) as group:
        if not group.is_main:
            group.serve()
            return Result(request.output, (), {}, is_main=False)
        with scheduled(request.scheduler, request.workers):
            return _run(request, config or Config(), group, progress or NoProgress(), announce)


def _run(
    request: Request, config: Config, group: ProcessGroup, progress: Progress,
    announce: Callable[[RunEstimate], None] | None,
) -> Result:  # fmt: skip
    anatomy = load_anatomy(request.anatomy)
    plan = make_plan(config, anatomy, request.structures)
    cohort = discover_cohort(
        request.labels, request.images, anatomy=anatomy, unknown_labels=request.unknown_labels, ids=request.ids,
        preset_ids=request.preset_ids,
    )  # fmt: skip
    if cohort.unread:
        log.warning("%s: %s", request.labels, describe_unread(cohort.unread))
    if request.trusted is not None:
        check_no_overlap(request.output, request.trusted)
    trusted = find_trusted(request.trusted, cohort, request.ids, request.preset_ids)
    convention = check_convention(request.convention, request.trusted, anatomy)
    with RunFolder.open(request.output, request.labels, request.images) as folder:
        if not request.resume and folder.is_started:
            raise RunError(f"{request.output}: contains a run already; remove --no-resume, or give another --output")
        if announce is not None:
            announce(_estimate(request, config, plan, cohort, folder.is_started))
        folder.write_settings({**config.model_dump(mode="json"), "request": _request_table(request, config, plan)})
        folder.note_start(command_line("run", request, config))
        folder.write_versions()
        folder.write_cohort(cohort)
        folder.write_anatomy(anatomy)
        plan = replace(plan, trusted=trusted, convention=convention)
        context = Context[Any](folder, cohort, config, plan, Compute(request.workers, group), progress)
        skipped = run_steps(steps_of(config, request.stop_after, anatomy, request.prior), context)
        done = tuple(case.id for case in cohort if case.id not in skipped)
        if request.stop_after in ("fuse", "unify"):
            if withdrawn := folder.withdraw(done):
                log.warning(
                    "%d results of cases that are no longer repaired were moved to %s",
                    len(withdrawn),
                    withdrawn[0].parent,
                )
            folder.write_estimates(done)
        prior = folder.prior()
        used = str(prior.get("heart") or prior.get("model", ""))
        return Result(folder.output, done, skipped, folder.warnings(), prior=used)


def make_plan(config: Config, anatomy: Anatomy, structures: tuple[str, ...] = ()) -> RunPlan:
    """Resolve what crosses the stages, from the settings and the anatomy.

    Args:
        config: the settings.
        anatomy: the anatomy.
        structures: names of the structures to repair; empty: all of them.

    Returns:
        The plan of the run.

    Raises:
        ConfigError: if a name is not that of a structure.
    """
    structures = tuple(anatomy.by_name(name).name for name in structures)
    heads = anatomy.select(structures, without_kinds=("tube",) if config.fuse.repair_vessels else ())
    classified = {n: id for n, id in heads.items() if anatomy.by_name(n).repair_method == "voxel_classifier"}
    shaped = {name: id for name, id in heads.items() if name not in classified}

    def coarse_phases(cases: int) -> tuple[Phase, ...]:
        first = config.fit if config.fit.shape == "template" else FitSettings()
        sampling = {"cases_per_step": config.unify.cases_per_step, "gradient_accumulation": 1}
        return first.model_copy(update=sampling).phases_for(cases)

    return RunPlan(structures, shaped, classified, config.fuse.image_edges, coarse_phases, seed=config.seed)


def resolve_device(device: str) -> str:
    """Resolve the name of a device; `auto` is the GPU where there is one.

    Args:
        device: `auto`, or a name of torch such as `cpu` or `cuda:0`.

    Returns:
        Name of the device for torch.

    Raises:
        ConfigError: if torch does not have the device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0]}; give cpu, cuda or auto") from error
    # Not by a trial: a tensor on a GPU costs half a gigabyte of its memory.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ConfigError(
            f"--device {device}: torch finds {plural(count, 'GPU')} here; give cpu, auto or a GPU that exists"
        )
    if found.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: give cpu, cuda or auto")
    return device


def _estimate(request: Request, config: Config, plan: RunPlan, cohort: Cohort, is_started: bool) -> RunEstimate:
    device, processes = resolve_device(request.device), request.workers or available_cores()
    seconds = run_seconds(cohort, config, request.stop_after, device, processes)
    wanted, required = set(plan.structures or cohort.anatomy.names), set(cohort.anatomy.without_absent(set()).names)
    return RunEstimate(
        len(cohort), len(wanted & required), len(wanted - required), any(case.image_path for case in cohort), device,
        processes, seconds, run_bytes(cohort), is_started, request.stop_after,
    )  # fmt: skip


def find_prior(prior: str, config: Config, anatomy: Anatomy) -> tuple[tuple[Path, ...], int]:
    """Find the models that may be the template of a run.

    Args:
        prior: `auto`, `none`, or the file of a model, or OUT of a run.
        config: the settings; another shape than the template has no prior.
        anatomy: the anatomy.

    Returns:
        Their files, and the most cases for which they are used.

    Raises:
        BadInputError: if the file is not a model.
        ConfigError: if it is a model of other structures, or the settings need no template.
    """
    if prior == "none":
        return (), 0
    if prior == "auto":
        return (built_in_priors(anatomy), MAX_PRIOR_CASES) if config.fit.shape == "template" else ((), 0)
    path = model_file(Path(prior))
    if config.fit.shape != "template":
        raise ConfigError(
            f"--prior {prior}: the shape of these settings is {config.fit.shape}, not a template; "
            "give --prior none, or a preset with a template, such as mend"
        )
    check_prior(path, anatomy)
    return (real_path(path),), sys.maxsize


def steps_of(config: Config, stop_after: StageName, anatomy: Anatomy, prior: str = "") -> list[PipelineStep]:
    """List the stages of a run.

    Args:
        config: the settings.
        stop_after: the last stage.
        anatomy: the anatomy.
        prior: as of `Request`.

    Returns:
        The stages, in order.
    """
    models, most = find_prior(prior or config.prior, config, anatomy)

    def with_plan(context: Context[Any], cases: Sequence[Case]) -> Context[Any]:
        context = _with_present_structures(context, cases)
        if cases and not _has_bulky_structures(context, cases):
            # Label maps of coronary arteries alone, such as those of ImageCAS: no shape is fitted.
            context = replace(context, plan=replace(context.plan, shaped={}, classified={}))
        return _with_prior(context, models if len(cases) <= most else ())

    steps = [
        PipelineStep("prepare", prepare, config.prepare, then=with_plan),
        PipelineStep("fit", _fit_or_place, config.fit, per_case=False),
        PipelineStep("refine", _refine, config.refine),
        PipelineStep("correct", correct, config.correct, per_case=False),
        PipelineStep("fuse", fuse, config.fuse),
        PipelineStep("unify", _unify, config.unify, per_case=False),
    ]
    steps = steps[: STAGES.index(stop_after) + 1]
    if stop_after in ("fuse", "unify"):
        # Not a stage of its own: it belongs to `fuse`, but works on the whole cohort.
        steps.insert(STAGES.index("fuse"), PipelineStep(REFERENCE, learn_reference, config.fuse, per_case=False))
    if stop_after == "unify" and all(structure.kind == "tube" for structure in anatomy.structures):
        log.warning("unify: anatomy %s has thin vessels alone, which no template can contain", anatomy.name)
        steps.pop()
    return steps


def _with_prior(context: Context[Any], prior: tuple[Path, ...]) -> Context[Any]:
    """Take a prior as the template: the structures that it lacks have no shape."""
    heads = load_heart_model(prior[0]).shape.template.heads if prior else ()
    shaped = {name: id for name, id in context.plan.shaped.items() if name in heads}
    if not shaped:
        context.run.write_prior({})
        return context
    return replace(context, plan=replace(context.plan, prior=prior, shaped=shaped))


def _fit_or_place(context: Context[Any], cases: Sequence[Case]) -> Iterator[Outcome]:
    """The template of the cases themselves, or that of a prior."""
    if not context.plan.prior:
        yield from fit(context, cases)
        return
    context.progress.start("fit", len(cases))
    for done, outcome in enumerate(place(replace(context, config=_placement(context.config)), cases), start=1):
        context.progress.advance(done, outcome.case.id if outcome.case is not None else "")
        yield outcome
    if context.plan.classified:
        yield from fit(replace(context, plan=replace(context.plan, shaped={})), cases)


def _placement(settings: FitSettings) -> EmbedSettings:
    """As `embed` places a template; with phases of one's own, half of their steps, in which the template is fixed."""
    if settings.phases == FitSettings().phases:
        return EmbedSettings()
    phases = tuple(replace(phase, shape_lr=0.0, steps=max(phase.steps // 2, 1)) for phase in settings.phases)
    return EmbedSettings(place_phases=phases, points=settings.points)


def _refine(context: Context[RefineSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """With a prior, the label counts more where a heart differs from the template."""
    local_misfit = max(context.config.local_misfit, PRIOR_LOCAL_MISFIT if context.plan.prior else 0.0)
    settings = context.config.model_copy(update={"local_misfit": local_misfit})
    yield from refine(replace(context, config=settings), cases)


def _unify(context: Context[Any], cases: Sequence[Case]) -> Iterator[Outcome]:
    """One function of all hearts, where there is more than thin vessels."""
    if cases and not _has_bulky_structures(context, cases):
        log.warning("unify: the label maps have thin vessels alone, which no template can contain")
        yield Outcome()
        return
    yield from unify(context, cases)


def _has_bulky_structures(context: Context[Any], cases: Sequence[Case]) -> bool:
    """Whether any prepared case has a structure that a template can contain."""
    bulky = {one.name for one in context.cohort.anatomy.structures if one.kind != "tube"}
    return any(bulky.intersection(context.run.facts(case.id).structures) for case in cases)


def _with_present_structures(context: Context[Any], cases: Sequence[Case]) -> Context[Any]:
    """Leave out the optional structures that no prepared case has: a fit must not depend on what is not there."""
    run, cohort, plan = context.run, context.cohort, context.plan
    facts = [run.facts(case.id) for case in cases]
    anatomy = cohort.anatomy.without_absent({name for one in facts for name in one.structures})
    left_out = set(cohort.anatomy.names) - set(anatomy.names)
    run.write_colours(
        anatomy,
        {one.case_id: {v: name for v, name in one.value_names.items() if name not in left_out} for one in facts},
    )
    if not left_out:
        return context
    structures = tuple(name for name in plan.structures if name in anatomy.names)
    if plan.structures and not structures:
        raise BadInputError(f"--structures {','.join(plan.structures)}: no label map has one of them; give others")
    run.write_anatomy(anatomy)
    shaped, classified = (
        {name: id for name, id in heads.items() if name in anatomy.names} for heads in (plan.shaped, plan.classified)
    )
    plan = replace(plan, structures=structures, shaped=shaped, classified=classified)
    return replace(context, cohort=replace(cohort, anatomy=anatomy), plan=plan)


def _request_table(request: Request, config: Config, plan: RunPlan) -> dict[str, Any]:
    images = None if request.images is None else real_path(request.images)
    return {
        "structures": plan.structures, "images": images, "device": request.device, "stop_after": request.stop_after,
        "trusted": None if request.trusted is None else real_path(request.trusted),
        "convention": None if request.convention is None else real_path(request.convention),
        "prior": request.prior or config.prior,
    }  # fmt: skip
