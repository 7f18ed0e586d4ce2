"""unify: one implicit function with a head for every structure that contains every heart of the data set.

It is fitted to the fused maps. First the template of `fit` is adapted to them; then it is frozen, and what each case
has beyond it (thin vessels above all) is fitted: a sparse grid of details under one small network shared by all cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.compute.ranks import Ranks
from heartmend.compute.resources import workers_per_process
from heartmend.compute.workers import available_cores, each, keep_freed_memory, return_freed_memory
from heartmend.errors import ConfigError, DamagedError, FitError
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.models.code_book import CodeBook
from heartmend.models.fidelity import evaluate_in_roi, reconstruction_dice, single_case
from heartmend.models.heart_model import HeartModel
from heartmend.models.label_decision import choose_thresholds
from heartmend.models.model_file import round_model, round_template
from heartmend.models.shape_limits import MAX_CHANNELS, MAX_DETAIL_SIDE, MAX_WIDTH
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import PREPARE, UNIFY
from heartmend.stages.contract import Context, Outcome, report_steps, start_steps
from heartmend.training.detail_nodes import add_detail_codes
from heartmend.training.initialise import initialise_template
from heartmend.training.joint_training import JointSampler, shape_as_teacher
from heartmend.training.loop import Fit
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import CaseSamples, CaseSummary, sample_fused_case
from heartmend.training.schedule import (
    DETAIL_PHASES,
    FOLLOW_PHASES,
    MAX_CHECKPOINT_SECONDS,
    MAX_EPOCHS,
    MAX_PHASES,
    Phase,
    scale_steps_to_cohort,
    step_errors,
    template_phase_errors,
)
from heartmend.training.training_log import ChainedTrainingLog, ReportStep
from heartmend.types import Labels

TEMPLATE, DETAILS = "template", "details"
THRESHOLD_CASES = 8
"""Thresholds are chosen on so many cases at most."""
_LAYOUT = 2
"""Version of the codes; checkpoints of another one are ignored."""


class UnifySettings(BaseModel):
    """Settings of `unify`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAX_PHASES)] = FOLLOW_PHASES
    """Phases in which the template is adapted to the fused maps."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAX_PHASES)] = DETAIL_PHASES
    """Phases in which the details are fitted."""
    resolution: Annotated[int, Field(strict=True, ge=32, le=512)] = 256
    """Points are sampled from the voxels of a case; if they are coarser, from so many cells along its longest side."""
    cases_per_step: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 32
    """Number of cases that are sampled for each step."""
    points: Annotated[int, Field(strict=True, ge=64, le=1_000_000)] = 2500
    """Points of each case in a step."""
    positives: Annotated[int, Field(strict=True, ge=10, le=1_000_000)] = 500
    """Points inside each structure in a step, over its cases."""
    side: Annotated[int, Field(strict=True, ge=4, le=MAX_DETAIL_SIDE)] = 80
    """Nodes of the details along each side of the template's frame."""
    channels: Annotated[int, Field(strict=True, ge=1, le=MAX_CHANNELS)] = 8
    """Features at each node."""
    width: Annotated[int, Field(strict=True, ge=4, le=MAX_WIDTH)] = 64
    """Width of the network that reads the details."""
    error_mm: Annotated[float, Field(strict=True, ge=0, le=100)] = 0.25
    """Details are opened where the template misses the surfaces by more than this on average."""
    teach: Annotated[
        dict[Annotated[str, Field(max_length=100)], Annotated[float, Field(strict=True, ge=0, le=1000)]],
        Field(max_length=254),
    ] = {}
    """Weight of the shape of `fit` beside the fused map, by structure; 0 where it is not named."""
    epochs: Annotated[int, Field(strict=True, ge=1, le=MAX_EPOCHS)] | None = None
    """Passes over all cases for the details; then the steps of both lists of phases are only their shares."""
    min_epochs: Annotated[int, Field(strict=True, ge=0, le=MAX_EPOCHS)] = 800
    """Least number of passes over all cases, for each list of phases, or as many as it has steps."""
    checkpoint_seconds: Annotated[float, Field(strict=True, ge=0, le=MAX_CHECKPOINT_SECONDS)] = 30.0
    """Time between two checkpoints."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        errors = step_errors(self.cases_per_step, self.points)
        errors += [f"template_phases: {error}" for error in template_phase_errors(self.template_phases, starts=False)]
        if errors:
            raise ValueError("; ".join(errors))
        return self

    def for_cases(self, cases: int) -> UnifySettings:
        """Return these settings with the phases for a number of cases.

        Args:
            cases: number of cases.

        Returns:
            The settings.
        """
        per_step, epochs, least = self.cases_per_step, self.epochs, self.min_epochs
        # With `epochs` both lists of phases get the factor that gives the details so many.
        reference = self.phases if epochs else None
        return self.model_copy(
            update={
                "phases": scale_steps_to_cohort(self.phases, cases, per_step, epochs=epochs, min_epochs=least),
                "template_phases": scale_steps_to_cohort(
                    self.template_phases, cases, per_step, epochs=epochs, min_epochs=least, reference=reference
                ),
            }
        )


def unify(context: Context[UnifySettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fit one function to the fused maps of all cases.

    Where the shape of `fit` is no template of all bulky structures, a template of its own is fitted first. Continues
    from the last checkpoint where there is one of the same settings and maps.

    Args:
        context: run, settings and resources.
        cases: the repaired cases.

    Yields:
        One outcome for the cohort.

    Raises:
        FitError: if the loss is NaN or infinite, or a process ended; the checkpoint before it stays.
        ConfigError: if there is no case, or the anatomy has thin vessels alone.
    """
    if not cases:
        raise ConfigError("there is nothing to unify: no case was fused; OUT/run/skipped.json has the reasons")
    run, plan, anatomy = context.run, context.plan, context.cohort.anatomy
    bulky = tuple(anatomy.select(without_kinds=("tube",)))
    if not bulky:
        raise ConfigError(
            f"anatomy {anatomy.name} has thin vessels alone, which no template can contain; stop after fuse"
        )
    for name in context.config.teach:
        anatomy.by_name(name)
    cases = sorted(cases, key=lambda case: case.id)
    settings, coarse_phases = context.config.for_cases(len(cases)), plan.coarse_phases(len(cases))
    adapts_fitted = tuple(plan.shaped) == bulky and run.has_fitted() and isinstance(run.fitted()[0], TemplateShape)
    phases = (*(() if adapts_fitted else coarse_phases), *settings.template_phases, *settings.phases)
    fingerprint = compute_fingerprint(
        _LAYOUT, context.config.model_dump(exclude={"checkpoint_seconds"}), anatomy, plan.seed,
        [case.id for case in cases], [asdict(phase) for phase in coarse_phases], adapts_fitted,
        *([run.fitted_path()] if adapts_fitted else []), *(run.result_path(case) for case in cases),
        [run.digest(PREPARE, case.id) for case in cases],
    )  # fmt: skip
    is_done = run.is_done(UNIFY, None, fingerprint)
    start_steps(context.progress, UNIFY, sum(phase.steps for phase in phases), done=is_done)
    if is_done:
        yield Outcome()
        return
    run.forget(UNIFY)
    context.compute.group.check_size(len(cases))
    torch.set_num_threads(available_cores())
    job = _Job(
        run.output, context.cohort.without_cases(), tuple(cases), adapts_fitted, coarse_phases, settings, plan.seed,
        context.compute.workers, fingerprint,
    )  # fmt: skip
    absent = context.compute.group.call(_work, job, report_steps(context.progress))
    shape, codes = run.fitted(UNIFY)
    assert isinstance(shape, UnifiedShape)
    model, dice = _finish_model(context, cases, shape, codes, absent)
    run.write_validation(UNIFY, dice)
    run.finish(UNIFY, None, fingerprint, run.write_model(UNIFY, model), run.fit_reports(UNIFY))
    run.fitted_path(UNIFY).unlink(missing_ok=True)
    for name in (TEMPLATE, DETAILS):
        run.training_files(UNIFY, name).delete()
    yield Outcome()


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    cases: tuple[Case, ...]
    adapts_fitted: bool
    coarse_phases: tuple[Phase, ...]
    settings: UnifySettings
    seed: int
    workers: int
    fingerprint: str


def _work(ranks: Ranks, job: _Job, report: ReportStep | None) -> dict[str, tuple[str, ...]]:
    """The work of each process, which is both fits; returns the structures that each case lacks."""
    run, settings, device = RunFolder.at(job.output), job.settings, ranks.device
    heads = job.cohort.anatomy.select()
    bulky = job.cohort.anatomy.select(without_kinds=("tube",))
    columns = [list(heads).index(name) for name in bulky]
    teach = {job.cohort.anatomy.by_name(name).name: weight for name, weight in settings.teach.items()}
    return_freed_memory()
    samples = _sample_cases(job, tuple(heads.values()), ranks)
    summaries = ranks.all_gather([one.summary for one in samples])
    points = PointSet.take(samples, device)
    keep_freed_memory()
    training_log = ChainedTrainingLog(job.fingerprint, settings.checkpoint_seconds, report, ranks)

    template, codes, first = _template(run, job, [one.select_heads(columns) for one in summaries], bulky, ranks)
    fitting = Fit(
        template.to(device), codes.to(device), PointSampler(points.select_heads(columns), device, job.seed, ranks),
        [*([] if first else job.coarse_phases), *settings.template_phases],
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    detail_steps = sum(phase.steps for phase in settings.phases)
    training_log.run(fitting, TEMPLATE, run.training_files(UNIFY, TEMPLATE), 0, detail_steps)
    template_steps = fitting.total_steps
    del fitting

    torch.manual_seed(job.seed)
    shape = UnifiedShape(tuple(heads), template.settings(), settings.side, settings.channels, settings.width)
    shape.template.load_state_dict(template.state_dict())
    # The details correct what rounding changed in the template.
    codes = round_template(shape, codes)
    shape, codes = shape.to(device), codes.to(device)
    codes = add_detail_codes(shape, codes, points, settings.error_mm, ranks)
    sampler = JointSampler(
        points, device, job.seed, ranks, positives=settings.positives,
        teacher=shape_as_teacher(*first, columns, len(heads), device) if first and any(teach.values()) else None,
        teacher_weights=[teach.get(name, 0.0) for name in heads],
    )  # fmt: skip
    fitting = Fit(
        shape, codes.to(device), sampler, settings.phases,
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    training_log.run(fitting, DETAILS, run.training_files(UNIFY, DETAILS), template_steps, 0)
    if (all_codes := fitting.gather_codes()) is not None:
        run.write_fitted(shape, all_codes, UNIFY)
    return {
        one.case_id: tuple(name for name, present in zip(heads, one.present, strict=True) if not present)
        for one in summaries
    }


def _finish_model(
    context: Context[UnifySettings], cases: Sequence[Case], shape: UnifiedShape, codes: CodeBook,
    absent: dict[str, tuple[str, ...]],
) -> tuple[HeartModel, dict[str, dict[str, float]]]:  # fmt: skip
    """Round the model, choose its thresholds, and measure its Dice on the maps that it was fitted to."""
    run, cohort = context.run, context.cohort
    frames = {case.id: run.roi(case.id) for case in cases}
    statistics = run.statistics(case.id for case in cases)
    noise = {name: value for name, value in statistics.lowest_surface_noise_mm2.items() if np.isfinite(value)}
    model = HeartModel(shape, codes, cohort.anatomy, {}, frames, absent, dict(statistics.calibres), noise)
    model = round_model(model)
    chosen = cases[:: max(len(cases) // THRESHOLD_CASES, 1)][:THRESHOLD_CASES]
    evaluated = [(evaluate_in_roi(model, case.id), run.fused_labels(cohort, case)) for case in chosen]
    model = replace(model, thresholds=choose_thresholds(evaluated, cohort.anatomy, shape.heads))
    jobs = [_DiceJob(run.output, cohort.without_cases(), case, single_case(model, case.id)) for case in cases]
    found = dict[str, dict[str, float]]()
    for job, dice, error in each(_dice, jobs, context.compute.workers, local=True):
        if error is not None or dice is None:
            raise error or FitError(f"case {job.case.id}: the model could not be evaluated")
        found[job.case.id] = dice
    found = {case.id: found[case.id] for case in cases}
    means = {name: round(float(np.mean([row[name] for row in found.values()])), 4) for name in shape.heads}
    return replace(model, metadata={"dice": means}), found


@dataclass(frozen=True, eq=False)
class _DiceJob:
    output: Path
    cohort: Cohort
    case: Case
    model: HeartModel


def _dice(job: _DiceJob) -> dict[str, float]:
    labels = RunFolder.at(job.output).fused_labels(job.cohort, job.case)
    return reconstruction_dice(job.model, job.case.id, labels)


@dataclass(frozen=True, eq=False)
class _SampleJob:
    output: Path
    cohort: Cohort
    case: Case
    ids: tuple[int, ...]
    resolution: int
    seed: int


def _sample(job: _SampleJob) -> CaseSamples:
    run = RunFolder.at(job.output)
    labels = run.fused_labels(job.cohort, job.case)
    return sample_fused_case(job.case.id, labels, run.roi(job.case.id), job.ids, job.resolution, job.seed)


def _sample_cases(job: _Job, ids: tuple[int, ...], ranks: Ranks) -> list[CaseSamples]:
    """The samples of the cases of this process."""
    found, own = dict[str, CaseSamples](), ranks.own(job.cases)
    jobs = [_SampleJob(job.output, job.cohort, case, ids, job.settings.resolution, job.seed) for case in own]
    for one, samples, error in each(_sample, jobs, workers_per_process(job.workers, ranks.count), local=True):
        if isinstance(error, DamagedError):
            raise error
        if error is not None or samples is None:
            raise FitError(f"case {one.case.id}: its fused map could not be sampled: {error}") from error
        found[one.case.id] = samples
    return [found[case.id] for case in own]


def _template(
    run: RunFolder, job: _Job, summaries: list[CaseSummary], bulky: dict[str, int], ranks: Ranks
) -> tuple[TemplateShape, CodeBook, tuple[TemplateShape, CodeBook] | None]:
    """The template to start from with the codes of this process; and that of `fit`, where it is adapted."""
    own = [case.id for case in ranks.own(job.cases)]
    if job.adapts_fitted:
        (shape, codes), (first, first_codes) = run.fitted(), run.fitted()
        assert isinstance(shape, TemplateShape)
        assert isinstance(first, TemplateShape)
        return shape, CodeBook(own, codes.of(own)), (first, CodeBook(own, first_codes.of(own)))
    by_id = {case.id: case for case in job.cases}

    def load_case(case_id: str) -> tuple[Labels, Roi]:
        return run.fused_labels(job.cohort, by_id[case_id]), run.roi(case_id)

    if not any(np.isfinite(one.centroids).all(axis=1).any() for one in summaries):
        raise FitError("no case shows a whole structure, so no template can be initialised; use a larger field of view")
    side, controls = job.coarse_phases[0].side or 48, job.coarse_phases[0].controls or 6
    shape, codes = initialise_template(bulky, summaries, load_case, side, controls)
    return shape, CodeBook(own, codes.of(own)), None
