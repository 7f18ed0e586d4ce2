"""fit: one implicit shape of the structures shared by all cases, and one latent code for each case.

All cases are training and validation at once, because the repaired masks are the product. Beside the loss, the Dice of
whole volumes is reported against the maps that the fit was given, without the bias of the sampling. How near those maps
are to the truth, no fit can measure. Structures without a shared shape get a voxel classifier instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.compute.ranks import Ranks
from heartmend.compute.resources import workers_per_process
from heartmend.compute.workers import available_cores, each, keep_freed_memory, return_freed_memory
from heartmend.errors import ConfigError, DamagedError, FitError
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case
from heartmend.io.digests import compute_fingerprint
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.models.lattice import CHUNK
from heartmend.models.shape_limits import MAX_CODE_SIZE
from heartmend.repair.voxel_classifier.cohort import ClassifierCase, classifiers_wanted, train_classifiers
from heartmend.repair.voxel_classifier.training import ClassifierSettings
from heartmend.run_folder.fit_maps import FitMaps
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CLASSIFIERS, FIT
from heartmend.stages.contract import Context, Outcome, report_steps, start_steps
from heartmend.stages.fit.confused import place_confused_cases
from heartmend.training.initialise import initialise_template
from heartmend.training.loop import Fit
from heartmend.training.losses import whole_volume_dice
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import CaseSamples, CaseSummary, Density, sample_case
from heartmend.training.schedule import (
    MAX_CHECKPOINT_SECONDS,
    MAX_EPOCHS,
    MAX_PHASES,
    TEMPLATE_PHASES,
    Phase,
    scale_steps_to_cohort,
    step_errors,
    template_phase_errors,
)
from heartmend.training.training_log import ReportStep, TrainingLog, resume_or_start
from heartmend.types import Labels

MONITORED_CASES = 4
"""Whole volumes of so many cases are evaluated while a fit runs; all of them at its end."""
MAX_CPU_POINTS = 200_000_000
"""Most points of a fit on a CPU: 2.6 GB with nine structures."""
log = logging.getLogger(__name__)


class FitSettings(BaseModel):
    """Settings of `fit`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Literal["template", "decoder"] = "template"
    """The implicit function: a template with a deformation per case, or NeAR's decoder made pointwise."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAX_PHASES)] = TEMPLATE_PHASES
    """Phases of the fit, coarse to fine."""
    cases_per_step: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 32
    """Number of cases that are sampled for each step."""
    points: Annotated[int, Field(strict=True, ge=64, le=1_000_000)] = 2500
    """Points of each case in a step; halved when memory runs out."""
    max_points: Annotated[int, Field(strict=True, ge=100_000, le=10_000_000_000)] | None = None
    """Most points of all cases in the memory of a process; of a larger cohort a random part of each case's is kept.
    None: 200 million on a CPU, and on a GPU those for which half of its memory suffices."""
    gradient_accumulation: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    """Draws whose gradients are added up for one step."""
    code_size: Annotated[int, Field(strict=True, ge=1, le=MAX_CODE_SIZE)] = 256
    """Length of the latent code of the decoder."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numeric precision; auto: bfloat16 for the decoder on a GPU, else float32."""
    epochs: Annotated[int, Field(strict=True, ge=1, le=MAX_EPOCHS)] | None = None
    """Passes over all cases; then the steps of a phase are only its share of them."""
    min_epochs: Annotated[int, Field(strict=True, ge=0, le=MAX_EPOCHS)] = 400
    """Least number of passes over all cases, or as many as the phases have steps: a large cohort takes more steps."""
    checkpoint_seconds: Annotated[float, Field(strict=True, ge=0, le=MAX_CHECKPOINT_SECONDS)] = 30.0
    """Time between two checkpoints."""
    voxel_classifier: ClassifierSettings = ClassifierSettings()
    """For structures that are repaired by a voxel classifier and have no part in the shape."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        errors = step_errors(self.cases_per_step, self.points)
        if self.shape == "template":
            errors += [f"phases: {error}" for error in template_phase_errors(self.phases, starts=True)]
        elif any(phase.loss == "joint" for phase in self.phases):
            errors.append('phases: loss = "joint" is the loss of details; give "dice_focal"')
        if errors:
            raise ValueError("; ".join(errors))
        return self

    def phases_for(self, cases: int) -> tuple[Phase, ...]:
        """Return the phases for a number of cases. With gradient accumulation, each draw counts.

        Args:
            cases: number of cases.

        Returns:
            The phases.
        """
        epochs = None if self.epochs is None else self.epochs / self.gradient_accumulation
        min_epochs = self.min_epochs / self.gradient_accumulation
        return scale_steps_to_cohort(self.phases, cases, self.cases_per_step, epochs=epochs, min_epochs=min_epochs)


def fit(context: Context[FitSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fit the shared shape, and the voxel classifiers, to the prepared cases.

    Continues from the last checkpoint where there is one of the same settings and cases.

    Args:
        context: run, settings and resources.
        cases: the prepared cases.

    Yields:
        One outcome for the cohort.

    Raises:
        FitError: if the loss is NaN or infinite, or a process ended; the checkpoint before it stays.
        ConfigError: if there is no case.
    """
    if not cases:
        raise ConfigError("there is nothing to fit: no case was prepared; OUT/run/skipped.json has the reasons")
    if context.plan.shaped:
        _fit_shape(context, cases)
    if context.plan.classified:
        _fit_classifiers(context, cases)
    yield Outcome()


def _fit_shape(context: Context[FitSettings], cases: Sequence[Case]) -> None:
    run, settings, plan = context.run, context.config, context.plan
    case_ids, heads = sorted(case.id for case in cases), dict(plan.shaped)
    maps = _maps(context)
    fingerprint = compute_fingerprint(
        settings.model_dump(exclude={"checkpoint_seconds", "voxel_classifier"}), heads, plan.seed, case_ids,
        *maps.digests(case_ids),
    )  # fmt: skip
    is_done = run.is_done(FIT, None, fingerprint)
    steps = sum(phase.steps for phase in settings.phases_for(len(case_ids)))
    start_steps(context.progress, FIT, steps, done=is_done)
    if is_done:
        return
    context.compute.group.check_size(len(case_ids))
    run.forget(FIT)
    torch.set_num_threads(available_cores())
    job = _Job(maps, tuple(case_ids), heads, settings, plan.seed, context.compute.workers, fingerprint)
    found = context.compute.group.call(_work, job, report_steps(context.progress))
    dices = {id: dict(zip(heads, row, strict=True)) for id, row in found.items()}
    placed = place_confused_cases(context, maps, case_ids)
    run.write_validation(FIT, {**dices, **placed.dices})
    run.finish(FIT, None, fingerprint, [run.fitted_path(), *placed.files], run.fit_reports())
    run.training_files(FIT).delete()


def _maps(context: Context[FitSettings]) -> FitMaps:
    plan = context.plan
    return FitMaps(context.run.output, plan.trusted if plan.learns_from_trusted else None)


def _fit_classifiers(context: Context[FitSettings], cases: Sequence[Case]) -> None:
    """Train the voxel classifiers; an interrupted training starts anew."""
    run, settings, plan, anatomy = context.run, context.config.voxel_classifier, context.plan, context.cohort.anatomy
    cases, heads = sorted(cases, key=lambda case: case.id), dict(plan.classified)
    ids = [case.id for case in cases]
    prepared, *trusted = _maps(context).digests(ids)
    image_names = [name for name in heads if plan.classifier_images and anatomy.by_name(name).image_edges]
    images = [case.image_path for case in cases if case.image_path is not None]
    wanted = classifiers_wanted(list(heads), image_names, len(cases), len(images))
    reads_images = any(reads for _, reads in wanted)
    fingerprint = compute_fingerprint(
        settings, heads, plan.seed, wanted, list(zip(ids, prepared, strict=True)), *trusted,
        *(images if reads_images else []),
    )  # fmt: skip
    is_done = run.is_done(CLASSIFIERS, None, fingerprint)
    start_steps(context.progress, CLASSIFIERS, settings.steps * len(wanted), done=is_done)
    if is_done:
        return
    run.forget(CLASSIFIERS)
    torch.set_num_threads(available_cores())
    found = [_classifier_case(context, case) for case in cases]
    classifiers = train_classifiers(
        found, heads, wanted, settings, plan.seed,
        lambda step, loss: context.progress.advance(step, f"loss {loss:.3f}"),
    )  # fmt: skip
    run.finish(CLASSIFIERS, None, fingerprint, run.write_classifiers(classifiers))


def _classifier_case(context: Context[FitSettings], case: Case) -> ClassifierCase:
    prepared = _maps(context).read(case.id)

    def read_image() -> npt.NDArray[np.generic] | None:
        return context.cohort.read_roi_image(case, prepared.roi)

    return ClassifierCase(
        case.id, prepared.cleaned, prepared.roi.grid.spacing_mm, None if case.image_path is None else read_image
    )


@dataclass(frozen=True)
class _Job:
    maps: FitMaps
    case_ids: tuple[str, ...]
    heads: dict[str, int]
    settings: FitSettings
    seed: int
    workers: int
    fingerprint: str


def _work(ranks: Ranks, job: _Job, report: ReportStep | None) -> dict[str, list[float]]:
    """The work of each process of a fit; returns the Dice (head,) of every case."""
    maps, settings, heads = job.maps, job.settings, job.heads
    run = RunFolder.at(maps.output)
    own = ranks.own(job.case_ids)
    max_points = (settings.max_points or _max_points(ranks.device, len(heads))) // len(own)
    jobs = [_SampleJob(maps, id, tuple(heads.values()), max_points, job.seed) for id in own]
    return_freed_memory()
    samples = _sample_cases(jobs, workers_per_process(job.workers, ranks.count))
    summaries = ranks.all_gather([one.summary for one in samples])
    shape, codes = _initialise(maps, heads, summaries, settings, job.seed)
    codes = CodeBook(own, codes.of(own))
    points = PointSet.take(samples, ranks.device)
    keep_freed_memory()
    fitting = Fit(
        shape.to(ranks.device), codes.to(ranks.device), PointSampler(points, ranks.device, job.seed, ranks),
        settings.phases_for(len(job.case_ids)), cases_per_step=settings.cases_per_step, points=settings.points,
        gradient_accumulation=settings.gradient_accumulation, autocast=_autocast(settings, ranks.device),
    )  # fmt: skip
    files = run.training_files(FIT)
    if resume_or_start(fitting, files, job.fingerprint):
        log.info("fit: continuing from phase %d, step %d", fitting.position.phase + 1, fitting.position.step)
    monitored = job.case_ids[:: max(len(job.case_ids) // MONITORED_CASES, 1)][:MONITORED_CASES]
    with TrainingLog(
        files, settings.checkpoint_seconds, tuple(heads),
        lambda fit: _case_dices(fit, monitored), report, fitting,
    ) as training_log:  # fmt: skip
        fitting.run(training_log)
    if (all_codes := fitting.gather_codes()) is not None:
        run.write_fitted(shape, all_codes)
    return _case_dices(fitting, job.case_ids)


def _max_points(device: torch.device, heads: int) -> int:
    """Most points in the memory of a device, each with a place of 4 bytes and one byte for each head."""
    if device.type != "cuda":
        return MAX_CPU_POINTS
    return int(torch.cuda.get_device_properties(device).total_memory) // 2 // (4 + heads)


@dataclass(frozen=True)
class _SampleJob:
    maps: FitMaps
    case_id: str
    ids: tuple[int, ...]
    max_points: int
    seed: int


def _sample(job: _SampleJob) -> CaseSamples:
    case = job.maps.read(job.case_id)
    return sample_case(
        case.case_id, case.cleaned, case.roi, job.ids,
        resolution=case.cube.shape[0], density=Density(max_points=job.max_points), seed=job.seed,
    )  # fmt: skip


def _sample_cases(jobs: Sequence[_SampleJob], workers: int) -> list[CaseSamples]:
    """The samples of every case, in the order of the jobs."""
    found = dict[str, CaseSamples]()
    for job, samples, error in each(_sample, jobs, workers, local=True):
        if isinstance(error, DamagedError):
            raise error
        if error is not None or samples is None:
            raise FitError(f"case {job.case_id}: it could not be sampled: {error}") from error
        found[job.case_id] = samples
    return [found[job.case_id] for job in jobs]


@torch.no_grad()
def _case_dices(fit: Fit, case_ids: Sequence[str]) -> dict[str, list[float]]:
    """Dice (head,) of some cases by id, from all their points; each process measures its own."""
    found, wanted = [], set(case_ids)
    for row, id in enumerate(fit.codes.ids):
        if id in wanted:
            batch = fit.sampler.whole_case(row)
            codes = fit.codes.at(batch.cases)
            logits = torch.cat([fit.shape(part, codes) for part in batch.points.split(CHUNK, dim=1)], dim=1)
            found.append((id, whole_volume_dice(logits, batch).tolist()))
    return dict(sorted(fit.ranks.all_gather(found)))


def _initialise(
    maps: FitMaps, heads: dict[str, int], summaries: Sequence[CaseSummary], settings: FitSettings, seed: int
) -> tuple[Shape, CodeBook]:
    torch.manual_seed(seed)
    if settings.shape == "decoder":
        shape = DecoderShape(tuple(heads), settings.code_size)
        return shape, CodeBook([one.case_id for one in summaries], shape.new_codes(len(summaries), seed))
    first = settings.phases[0]
    if first.side is None or first.controls is None:
        raise ConfigError("fit.phases: the phases of a template give side and controls")
    if not any(np.isfinite(one.centroids).all(axis=1).any() for one in summaries):
        raise FitError("no case shows a whole structure, so no template can be initialised; use a larger field of view")

    def load_case(case_id: str) -> tuple[Labels, Roi]:
        case = maps.read(case_id)
        return case.cleaned, case.roi

    return initialise_template(heads, summaries, load_case, first.side, first.controls)


def _autocast(settings: FitSettings, device: torch.device) -> torch.dtype | None:
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and settings.shape == "decoder" else None
    return torch.bfloat16 if settings.precision == "bfloat16" else None
