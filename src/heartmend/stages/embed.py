"""embed: new cases in a trained model. Its weights stay frozen; only the latent code of each case is optimised.

Twice: `place` fits the stiff code of the template to the prepared label map; it cannot follow noise and so repairs it.
`encode` fits the whole code to the repaired map, so that the heart becomes one more point of the model's latent space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.errors import FitError
from heartmend.geometry.masks import present_ids
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import Heart, HeartModel, evaluate_labels
from heartmend.models.model_file import load_heart_model
from heartmend.models.prior import prior_heart
from heartmend.models.unified import stack_details
from heartmend.repair.confused_labels import is_confused_beside, place_whole
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import EMBED, FIT, FUSE, PREPARE
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import Context, Outcome
from heartmend.training.detail_nodes import add_detail_codes
from heartmend.training.image_placement import usual_affine
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit
from heartmend.training.placement import (
    PLACEMENT,
    NoObserver,
    PlacementSchedule,
    measure_placement,
    place_template,
    select_heads,
)
from heartmend.training.point_sampler import PointSampler
from heartmend.training.sampling import CaseSamples, sample_case, sample_fused_case
from heartmend.training.schedule import MAX_PHASES, Phase
from heartmend.types import BACKGROUND, Labels

PLACE, ENCODE = "place", "encode"
Code = dict[str, np.ndarray]
"""The code of one case: arrays whose first axis has length one."""

FOLLOW_PHASE = Phase(steps=100, code_lr=0.004, shape_lr=0, tolerance_mm=1.5)
DETAIL_PHASE = Phase(steps=400, code_lr=0.06, shape_lr=0, loss="joint", tolerance_mm=1.0, regularisation=1e-4)


class EmbedSettings(BaseModel):
    """Settings of `embed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place_phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAX_PHASES)] = PLACEMENT
    """Phases in which the template is fitted to the prepared label map."""
    template_phase: Phase = FOLLOW_PHASE
    """Phase in which the template is fitted to the repaired label map."""
    detail_phase: Phase = DETAIL_PHASE
    """Phase in which the details are fitted."""
    points: Annotated[int, Field(strict=True, ge=64, le=1_000_000)] = 3000
    """Points in each step."""
    resolution: Annotated[int, Field(strict=True, ge=32, le=512)] = 256
    """As `unify.resolution`."""
    error_mm: Annotated[float, Field(strict=True, ge=0, le=100)] = 0.25
    """As `unify.error_mm`."""
    complete: Annotated[bool, Field(strict=True)] = False
    """Add structures that a label map lacks from the model, where the map has background."""

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        # A template has no batch of the joint loss; side is that of the model.
        phases = [("template_phase", self.template_phase), *(("place_phases", phase) for phase in self.place_phases)]
        if wrong := [name for name, phase in phases if phase.loss == "joint"]:
            raise ValueError(f'{wrong[0]}: loss = "joint" is the loss of details; give "surface_distance"')
        return self


def place(context: Context[EmbedSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fit the template of the model to every prepared case; of a prior, that of each of its models.

    The template is written to the run as its fitted shape, with the codes of all cases. Of a prior it is that of the
    model that fits the cases best.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, plan, placed = context.run, context.plan, dict[str, list[_Found]]()
    jobs = [_job(context, case) for case in cases]
    fingerprint = compute_fingerprint(
        context.config, plan.seed, *jobs[0].models, plan.shaped, [(c.id, run.digest(PREPARE, c.id)) for c in cases]
    )
    if run.is_done(FIT, None, fingerprint):
        yield from map(Outcome, cases)
        return
    for job, found, error in context.compute.each(_place, jobs):
        if found is not None:
            placed[job.case.id] = found
        yield Outcome(job.case, error)
    if placed:
        errors = np.nansum([[one.error_mm for one in found] for found in placed.values()], axis=0) / len(placed)
        best, paths = int(np.argmin(errors)), jobs[0].models
        model, template = _model(paths[best]), _model(paths[best]).shape.template
        if plan.prior:
            template = select_heads(template, [name for name in template.heads if name in plan.shaped])
            run.write_prior({"model": paths[best].name, "heart": prior_heart(model), "error_mm": float(errors[best])})
        run.forget(FIT)
        codes = {id: found[best].code for id, found in sorted(placed.items())}
        confused = [id for id, found in sorted(placed.items()) if found[best].is_confused]
        files = [*run.write_fitted(template, _code_book(codes)), run.write_confused_cases(confused)]
        run.finish(FIT, None, fingerprint if len(placed) == len(cases) else "", files)


def encode(context: Context[EmbedSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fit the whole code of every repaired case.

    The model of these cases is written to the run.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, encoded = context.run, dict[str, Code]()
    jobs = [_job(context, case) for case in cases]
    for job, code, error in context.compute.each(_encode, jobs):
        if code is not None:
            encoded[job.case.id] = code
        yield Outcome(job.case, error)
    if encoded:
        model = _embedded_model(_model(jobs[0].models[0]), encoded, context)
        run.forget(EMBED)
        fingerprint = compute_fingerprint(context.config, context.plan.seed, sorted(encoded))
        run.finish(EMBED, None, fingerprint, run.write_model(EMBED, model))
        if context.config.complete:
            for case in (case for case in cases if case.id in encoded):
                _complete(context, case, model)


@dataclass(frozen=True, eq=False)
class PlacedModel:
    """A model whose template was fitted to a case.

    Attributes:
        model: the model.
        code: the affine map (1, 3, 4) and the field (1, 3, m, m, m) of the case.
        error_mm: median distance of the template's surfaces from those of the case.
        is_confused: whether the template was placed in the whole label map, because structures are called by the names
            of others.
    """

    model: HeartModel
    code: dict[str, torch.Tensor]
    error_mm: float
    is_confused: bool = False


def place_models(
    models: Sequence[HeartModel], case: PreparedCase, settings: EmbedSettings, seed: int = 0, *, is_own: bool = False
) -> list[PlacedModel]:
    """Fit the template of each model to a prepared label map.

    Structures that the map lacks do not take part, so a part of a heart is enough.

    Args:
        models: the models, which are not changed.
        case: the prepared case.
        settings: settings of the stage.
        seed: of the sampled points.
        is_own: whether the models are of the population of the case. Then a label map whose structures are called by
            the names of others is recognised; another heart than those of the case may differ as much.

    Returns:
        Each model with its code, in the order of `models`.

    Raises:
        FitError: if the map has none of the structures of a template.
    """
    placed, drawn = list[PlacedModel](), dict[tuple[str, ...], CaseSamples]()
    for model in models:
        template, present = model.shape.template, present_heads(model, case.cleaned)
        if not present:
            raise FitError(
                f"case {case.case_id}: has none of {', '.join(template.heads)}, so its position is not known"
            )
        if present not in drawn:
            ids, resolution = [model.anatomy.by_name(name).id for name in present], case.cube.shape[0]
            drawn[present] = sample_case(case.case_id, case.cleaned, case.roi, ids, resolution=resolution, seed=seed)
        schedule = PlacementSchedule(settings.place_phases, settings.points, seed)
        code = place_template(template, _mean_size_mm(model), drawn[present], present, schedule)
        whole = _place_whole(model, code, case) if is_own else None
        code = whole or code
        error = measure_placement(template, drawn[present], present, code)
        placed.append(PlacedModel(model, code, error.whole_mm, whole is not None))
    return placed


def _place_whole(model: HeartModel, code: Codes, case: PreparedCase) -> dict[str, torch.Tensor] | None:
    """The code of a confused label map as a whole; None where the names of its structures agree with the template."""
    template = model.shape.template
    heads = {name: model.anatomy.by_name(name).id for name in template.heads}
    if not is_confused_beside(template, code, case.cleaned, case.roi, heads, model.anatomy):
        return None
    return dict(place_whole(template, case.cleaned, case.roi, heads, usual_affine(model.codes)))


def present_heads(model: HeartModel, labels: Labels) -> tuple[str, ...]:
    """List the structures of a model's template that a label map has.

    Args:
        model: the model.
        labels: (x, y, z) uint8, in the ids of the anatomy.

    Returns:
        Their names, in the order of the template.
    """
    heads = {name: model.anatomy.by_name(name).id for name in model.shape.template.heads}
    return tuple(present_ids(labels, heads))


def encode_case(
    model: HeartModel, case: tuple[str, Roi], labels: Labels, start: dict[str, torch.Tensor], settings: EmbedSettings,
    seed: int = 0,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Fit the whole code of one case to its repaired map.

    Args:
        model: the model, which is not changed.
        case: id and ROI of the case.
        labels: (x, y, z) uint8, the repaired map on the voxels of the ROI.
        start: the code of `place_models`.
        settings: settings of the stage.
        seed: of the sampled points.

    Returns:
        The code: affine, field, detail and slot.
    """
    (case_id, roi), anatomy, shape = case, model.anatomy, model.shape
    ids = [anatomy.by_name(name).id for name in shape.heads]
    samples = sample_fused_case(case_id, labels, roi, ids, settings.resolution, seed)
    cpu = torch.device("cpu")
    columns = [at for at, name in enumerate(shape.heads) if name in shape.template.heads and samples.present[at]]
    part = select_heads(shape.template, [shape.heads[at] for at in columns])
    book = CodeBook([case_id], start)
    if columns:
        phase = replace(settings.template_phase, side=part.side, controls=part.controls)
        sampler = PointSampler([samples.select_heads(columns)], cpu, seed)
        Fit(part, book, sampler, [phase], cases_per_step=1, points=settings.points).run(NoObserver())
    book = add_detail_codes(shape, book, [samples], settings.error_mm)
    joint = JointSampler([samples], cpu, seed, positives=settings.points // 50)
    Fit(shape, book, joint, [settings.detail_phase], cases_per_step=1, points=settings.points).run(NoObserver())
    return {name: code.detach() for name, code in book.values.items()}


def _mean_size_mm(model: HeartModel) -> tuple[float, float, float]:
    sizes = np.mean([roi.size_mm for roi in model.frames.values()], axis=0)
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


@dataclass(frozen=True)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    settings: EmbedSettings
    seed: int
    models: tuple[Path, ...]
    is_prior: bool


def _job(context: Context[EmbedSettings], case: Case) -> _Job:
    plan, cohort = context.plan, context.cohort.without_cases()
    models = plan.prior or (() if plan.model is None else (plan.model,))
    return _Job(context.run.output, cohort, case, context.config, plan.seed, models, bool(plan.prior))


_MODELS: dict[Path, HeartModel] = {}
"""One model in each process, read once."""


def _model(path: Path) -> HeartModel:
    if path not in _MODELS:
        _MODELS[path] = load_heart_model(path)
    return _MODELS[path]


@dataclass(frozen=True, eq=False)
class _Found:
    code: Code
    error_mm: float
    is_confused: bool = False


def _place(job: _Job) -> list[_Found]:
    prepared, models = RunFolder.at(job.output).prepared(job.case.id), [_model(path) for path in job.models]
    if job.is_prior and not all(present_heads(model, prepared.cleaned) for model in models):
        # Thin vessels alone: they are repaired without a template.
        return [_Found(_arrays(model.shape.template.new_codes(1)), float("nan")) for model in models]
    placed = place_models(models, prepared, job.settings, job.seed, is_own=not job.is_prior)
    return [_Found(_arrays(one.code), one.error_mm, one.is_confused) for one in placed]


def _encode(job: _Job) -> Code:
    run, id = RunFolder.at(job.output), job.case.id
    start = {name: value.detach() for name, value in run.fitted()[1].of([id]).items()}
    labels = run.fused_labels(job.cohort, job.case)
    return _arrays(encode_case(_model(job.models[0]), (id, run.roi(id)), labels, start, job.settings, job.seed))


def _arrays(code: dict[str, torch.Tensor]) -> Code:
    return {name: value.numpy() for name, value in code.items()}


def _code_book(codes: dict[str, Code]) -> CodeBook:
    """The codes of several cases by case id."""
    cases = [{name: torch.from_numpy(value) for name, value in code.items()} for code in codes.values()]
    rows = {name: torch.cat([case[name] for case in cases]) for name in ("affine", "field")}
    return CodeBook(list(codes), rows | stack_details(cases) if "detail" in cases[0] else rows)


def _embedded_model(model: HeartModel, codes: dict[str, Code], context: Context[EmbedSettings]) -> HeartModel:
    """The model with the new cases in place of those that it was fitted to."""
    run, cohort, codes = context.run, context.cohort, dict(sorted(codes.items()))
    frames, absent = {}, {}
    for id in codes:
        frames[id] = run.roi(id)
        present = np.unique(run.fused_labels(cohort, cohort[id]))
        absent[id] = tuple(name for name in model.shape.heads if model.anatomy.by_name(name).id not in present)
    metadata = {"embedded_by": model.metadata}
    return replace(model, codes=_code_book(codes), frames=frames, absent=absent, metadata=metadata)


def _complete(context: Context[EmbedSettings], case: Case, model: HeartModel) -> None:
    """Add the bulky structures that a repaired label map lacks from the model, where it has background."""
    run, cohort = context.run, context.cohort
    original, repaired = cohort.read_labels(case), run.repaired(cohort, case).labels
    heart = model.heart(case.id)
    lacking = [cohort.anatomy.by_name(n).id for n in heart.absent if n in model.shape.template.heads]
    code = {**heart.code, **model.shape.empty_details()}
    predicted = evaluate_labels(model, Heart(code, heart.frame), original.grid)
    completed = np.where((repaired == BACKGROUND) & np.isin(predicted, lacking), predicted, repaired)
    fingerprint = run.stamped(FUSE, case.id)
    files = run.write_fused(cohort, case, completed, run.changes(case.id), original.unknown)
    files += [path for path in [run.uncertainty_path(case.id)] if path.exists()]
    run.finish(FUSE, case.id, fingerprint, files)
