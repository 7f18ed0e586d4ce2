"""unify: stage 3, one function with a head for every structure that holds every heart of the data set.

It learns the fused maps. First stage 1's template is led to them, then it is held, and what each case has beyond it
(thin vessels above all) is fitted as a sparse grid of details under one small network that all cases share.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from heartmend.compute.process_group import ProcessGroup
from heartmend.compute.ranks import Ranks
from heartmend.compute.workers import cores, each, keep_memory
from heartmend.errors import ConfigError, FitError
from heartmend.geometry.roi import Roi
from heartmend.geometry.surface_noise import lowest_surface_noise_mm2
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import fingerprint
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.label_decision import choose_thresholds
from heartmend.models.model_card import model_card
from heartmend.models.model_file import rounded, rounded_template, save_heart_model
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, PreparedCase, calibres_of, fused_labels, heads_of, surface_noises_mm2
from heartmend.stages.fidelity import asked, dices
from heartmend.training.case_samples import CaseSamples, CaseSummary
from heartmend.training.checkpoint import load_model, save_model
from heartmend.training.details import with_details
from heartmend.training.initialise import initialise_template
from heartmend.training.joint_training import JointSampler, shape_as_teacher
from heartmend.training.loop import Fit
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import sample_fused_case
from heartmend.training.schedule import DETAIL_PHASES, FOLLOW_PHASES, Phase, cohort_step_factor, scale_steps
from heartmend.training.training_log import ChainedTrainingLog, Progress, checkpoint_files
from heartmend.types import Labels

VERB = "unify"
MODEL_FILE, FITTED_FILE = "model.zip", "fitted.safetensors"
TEMPLATE, DETAILS = "template", "details"
WATCHED_CASES = 8
"""Thresholds are chosen on so many cases at most."""
_LAYOUT = 2
"""Of the codes; checkpoints of another one are none."""
log = logging.getLogger(__name__)


class UnifySettings(BaseModel):
    """How stage 3 is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = FOLLOW_PHASES
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = DETAIL_PHASES
    resolution: Annotated[int, Field(ge=32, le=512)] = 256
    """Points are drawn from the voxels that a case came on, or from so many cells along its longest side, whichever is
    coarser."""
    cases_per_step: Annotated[int, Field(ge=1)] = 32
    points: Annotated[int, Field(ge=64)] = 2500
    """Points in each case and step."""
    positives: Annotated[int, Field(ge=10)] = 500
    """Points inside each structure in a step, over its cases."""
    side: Annotated[int, Field(ge=4, le=128)] = 80
    """Nodes of the details along each side of the template's frame."""
    channels: Annotated[int, Field(ge=1)] = 8
    width: Annotated[int, Field(ge=4)] = 64
    """Of the network that reads the details."""
    error_mm: Annotated[float, Field(ge=0)] = 0.25
    """Where the template misses the surfaces by more than this on average, details are opened."""
    teach: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How much stage 1's shape of a structure counts beside the fused map; 0 where it is not named."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over all cases for the details; then the steps of both lists of phases are only their shares."""
    min_epochs: Annotated[int, Field(ge=0)] = 800
    """Passes over all cases at least, for each list of phases, or as many as it has steps."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0

    def for_cases(self, cases: int) -> UnifySettings:
        """These settings with the phases for so many cases."""
        drawn, least = self.cases_per_step, self.min_epochs
        details = cohort_step_factor(self.phases, cases, drawn, self.epochs, least)
        template = details if self.epochs else cohort_step_factor(self.template_phases, cases, drawn, None, least)
        return self.model_copy(
            update={
                "phases": scale_steps(self.phases, details),
                "template_phases": scale_steps(self.template_phases, template),
            }
        )


def unify(
    run: Run,
    cohort: Cohort,
    cases: Sequence[Case],
    stage1: Path | None,
    coarse_phases: Sequence[Phase],
    settings: UnifySettings,
    *,
    seed: int = 0,
    team: ProcessGroup | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Fit one function to the fused maps of these cases; returns the model's file, OUT/run/unify/model.zip.

    stage1: the model of `fit`; where it is no template of all bulky structures one is begun anew, with
    `coarse_phases`. team: the processes that do it, this one alone unless given. Goes on from the last checkpoint;
    done is done. Raises FitError when the loss is no number, and ConfigError when there is nothing to learn.
    """
    if not cases:
        raise ConfigError("there is nothing to unify: no case was fused")
    anatomy = cohort.anatomy
    if not heads_of(anatomy, without=("tube",)):
        raise ConfigError(f"anatomy {anatomy.name} has thin vessels alone; a template needs a bulky structure")
    for name in settings.teach:
        anatomy.by_name(name)
    cases = sorted(cases, key=lambda case: case.id)
    ids = [case.id for case in cases]
    folder = run.folder(VERB)
    path = folder / MODEL_FILE
    stamp = fingerprint(
        _LAYOUT, settings.model_dump(exclude={"checkpoint_seconds"}), anatomy, seed, ids,
        [asdict(phase) for phase in coarse_phases], [stage1 is None], *([stage1] if stage1 else []),
        *(run.result_path(case.labels_path) for case in cases),
        *(run.case_path(PREPARED, id, ".npz") for id in ids),
    )  # fmt: skip
    if run.is_done(VERB, None, stamp) and path.is_file():
        return path
    run.forget(VERB)
    team = team or ProcessGroup()
    team.refuse_more_than(len(cases))
    job = _Job(
        run.out, cohort.without_cases(), tuple(cases), stage1, tuple(coarse_phases), settings.for_cases(len(cases)),
        seed, workers, stamp,
    )  # fmt: skip
    absent = team.call(_fit, job, progress)
    shape, codes = load_model(folder / FITTED_FILE)
    assert isinstance(shape, UnifiedShape)
    _finish(run, cohort, cases, shape, codes, absent, path, workers)
    run.mark_done(VERB, None, stamp, [path])
    for name in (FITTED_FILE, *checkpoint_files(TEMPLATE), *checkpoint_files(DETAILS)):
        (folder / name).unlink(missing_ok=True)
    return path


@dataclass(frozen=True, eq=False)
class _Job:
    run_out: Path
    cohort: Cohort
    cases: tuple[Case, ...]
    stage1: Path | None
    coarse_phases: tuple[Phase, ...]
    settings: UnifySettings
    seed: int
    workers: int
    mark: str


def _fit(ranks: Ranks, job: _Job, progress: Progress | None) -> dict[str, tuple[str, ...]]:
    """What each process does: both fits. The leader writes what came of them; returns what each case lacks."""
    run, settings, where = Run.at(job.run_out), job.settings, ranks.device
    keep_memory()
    heads = heads_of(job.cohort.anatomy)
    bulky = heads_of(job.cohort.anatomy, without=("tube",))
    columns = [list(heads).index(name) for name in bulky]
    teach = {job.cohort.anatomy.by_name(name).name: weight for name, weight in settings.teach.items()}
    targets = _targets(run, job, tuple(heads.values()), ranks)
    outlines = ranks.all_gather([target.outline for target in targets])
    listing = PointSet.of(targets, where)
    del targets
    relay = ChainedTrainingLog(run.folder(VERB), job.mark, settings.checkpoint_seconds, progress, ranks)

    template, codes, first = _template(run, job, [outline.of_heads(columns) for outline in outlines], bulky, ranks)
    fitting = Fit(
        template.to(where), codes.to(where), PointSampler(listing.of_heads(columns), where, job.seed, ranks),
        [*([] if first else job.coarse_phases), *settings.template_phases],
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    relay.go_on(fitting, TEMPLATE, 0, sum(phase.steps for phase in settings.phases))
    followed = fitting.total
    del fitting

    torch.manual_seed(job.seed)
    shape = UnifiedShape(tuple(heads), template.settings(), settings.side, settings.channels, settings.width)
    shape.template.load_state_dict(template.state_dict())
    # Details make good what rounding took from the template.
    codes = rounded_template(shape, codes)
    shape, codes = shape.to(where), codes.to(where)
    codes = with_details(shape, codes, listing, settings.error_mm, ranks)
    sampler = JointSampler(
        listing, where, job.seed, ranks, positives=settings.positives,
        teacher=shape_as_teacher(*first, columns, len(heads), where) if first and any(teach.values()) else None,
        teaching=[teach.get(name, 0.0) for name in heads],
    )  # fmt: skip
    fitting = Fit(
        shape, codes.to(where), sampler, settings.phases,
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    relay.go_on(fitting, DETAILS, followed, 0)
    if (whole := fitting.whole_codes()) is not None:
        save_model(run.folder(VERB) / FITTED_FILE, shape, whole)
    return {o.case_id: tuple(name for name, here in zip(heads, o.present, strict=True) if not here) for o in outlines}


def _finish(
    run: Run, cohort: Cohort, cases: Sequence[Case], shape: UnifiedShape, codes: CodeBook,
    absent: dict[str, tuple[str, ...]], path: Path, workers: int,
) -> None:  # fmt: skip
    """Write the model, rounded, with the thresholds that suit it so, and its Dice on the maps that it learned."""
    anatomy = cohort.anatomy
    frames = {case.id: PreparedCase.load(run, case.id).roi for case in cases}
    everyone = [case.id for case in cases]
    least = {name: lowest_surface_noise_mm2(found) for name, found in surface_noises_mm2(run, everyone).items()}
    known = {name: value for name, value in least.items() if np.isfinite(value)}
    model = rounded(HeartModel(shape, codes, anatomy, {}, frames, absent, calibres_of(run, everyone), known))

    watched = cases[:: max(len(cases) // WATCHED_CASES, 1)][:WATCHED_CASES]
    thresholds = choose_thresholds([asked(run, cohort, case, model) for case in watched], anatomy, shape.heads)
    model = replace(model, thresholds=thresholds)
    found = dices(run, cohort, cases, model, workers)
    means = {name: round(float(np.mean([row[name] for row in found.values()])), 4) for name in shape.heads}
    model = replace(model, about={"dice": means})
    save_heart_model(path, model)
    write_json(path.with_name("validation.json"), found)
    write_text(path.with_name("MODEL_CARD.md"), model_card(model))


@dataclass(frozen=True, eq=False)
class _Wanted:
    run_out: Path
    cohort: Cohort
    case: Case
    ids: tuple[int, ...]
    resolution: int
    seed: int


def _target(wanted: _Wanted) -> CaseSamples:
    run = Run.at(wanted.run_out)
    roi = PreparedCase.load(run, wanted.case.id).roi
    labels = fused_labels(run, wanted.cohort, wanted.case, roi)
    return sample_fused_case(wanted.case.id, labels, roi, wanted.ids, wanted.resolution, wanted.seed)


def _targets(run: Run, job: _Job, ids: tuple[int, ...], ranks: Ranks) -> list[CaseSamples]:
    """The targets of this process's own cases."""
    made, own = dict[str, CaseSamples](), ranks.own(job.cases)
    jobs = [_Wanted(run.out, job.cohort, case, ids, job.settings.resolution, job.seed) for case in own]
    for wanted, target, error in each(_target, jobs, max((job.workers or cores()) // ranks.count, 1), nearby=True):
        if error is not None or target is None:
            raise FitError(f"case {wanted.case.id}: no target could be made of its fused map: {error}") from error
        made[wanted.case.id] = target
    return [made[case.id] for case in own]


def _template(
    run: Run, job: _Job, outlines: list[CaseSummary], bulky: dict[str, int], ranks: Ranks
) -> tuple[TemplateShape, CodeBook, tuple[TemplateShape, CodeBook] | None]:
    """The template and own codes to go on from, and stage 1's own where it is one of these structures."""
    own = [case.id for case in ranks.own(job.cases)]
    if job.stage1 is not None:
        (shape, codes), (first, first_codes) = load_model(job.stage1), load_model(job.stage1)
        if isinstance(shape, TemplateShape) and isinstance(first, TemplateShape) and shape.heads == tuple(bulky):
            return shape, CodeBook(own, codes.of(own)), (first, CodeBook(own, first_codes.of(own)))
    by_id = {case.id: case for case in job.cases}

    def middle_of(case_id: str) -> tuple[Labels, Roi]:
        roi = PreparedCase.load(run, case_id).roi
        return fused_labels(run, job.cohort, by_id[case_id], roi), roi

    if not any(np.isfinite(outline.centroids).all(axis=1).any() for outline in outlines):
        raise FitError("no case shows a whole structure, so no template can begin; give a larger field of view")
    side, controls = job.coarse_phases[0].side or 48, job.coarse_phases[0].controls or 6
    shape, codes = initialise_template(bulky, outlines, middle_of, side, controls)
    return shape, CodeBook(own, codes.of(own)), None
