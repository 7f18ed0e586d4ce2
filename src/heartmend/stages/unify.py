"""unify: stage 3, one function with a head for every structure that holds every heart of the data set.

It learns the fused maps. First stage 1's template is led to them, then it is held, and what each case has beyond it
(thin vessels above all) is fitted as a sparse grid of details under one small network that all cases share.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from heartmend.data import Case, Cohort, Run, fingerprint, write_json, write_text
from heartmend.errors import ConfigError, FitError
from heartmend.learning.begin import begin_template
from heartmend.learning.checkpoint import load_fit, load_model, save_fit
from heartmend.learning.details import with_details
from heartmend.learning.joint import BAND_MM, JointSampler, shape_as_teacher
from heartmend.learning.loop import Fit, Step
from heartmend.learning.points import PointSampler
from heartmend.learning.schedule import Phase
from heartmend.learning.targets import Target, make_target
from heartmend.learning.trust import least_roughness_mm2
from heartmend.metrics import dice
from heartmend.models import (
    HeartModel,
    choose_thresholds,
    decide,
    fields_on,
    rounded,
    rounded_template,
    save_heart_model,
)
from heartmend.models.card import model_card
from heartmend.models.heart_model import Fields
from heartmend.shapes import CodeBook, TemplateShape, UnifiedShape
from heartmend.space import Roi
from heartmend.stages.handover import PREPARED, Prepared, fused_labels, heads_of, roughnesses_mm2
from heartmend.stages.tubes import calibres_of
from heartmend.stages.workers import each
from heartmend.types import Labels

VERB = "unify"
MODEL_FILE = "model.zip"
FAR_SHARE = 0.03
"""Of the cells off the band; what lies there is soon learned."""
WATCHED_CASES = 8
"""Thresholds are chosen on so many cases at most."""
log = logging.getLogger(__name__)

Progress = Callable[[Step, float | None], None]

FOLLOWING = (Phase(steps=160, code_rate=0.004, shape_rate=0.05, side=72, controls=14, tolerance_mm=1.5),)
"""Stage 1's template led to the fused maps: they are clean, so its fields may be finer."""
DETAILING = (Phase(steps=2000, code_rate=0.06, shape_rate=0.003, loss="joint", tolerance_mm=1.0, penalty=1e-4),)


class UnifySettings(BaseModel):
    """How stage 3 is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_phases: tuple[Phase, ...] = FOLLOWING
    phases: tuple[Phase, ...] = DETAILING
    resolution: Annotated[int, Field(ge=32, le=512)] = 160
    """Cells along each side of the ROI, from which points are drawn."""
    cases_per_step: Annotated[int, Field(ge=1)] = 32
    points: Annotated[int, Field(ge=64)] = 2500
    """Points in each case and step."""
    positives: Annotated[int, Field(ge=10)] = 500
    """Points inside each structure in a step, over its cases."""
    side: Annotated[int, Field(ge=4, le=128)] = 40
    """Nodes of the details along each side of the template's frame."""
    channels: Annotated[int, Field(ge=1)] = 8
    width: Annotated[int, Field(ge=4)] = 64
    """Of the network that reads the details."""
    error_mm: Annotated[float, Field(ge=0)] = 0.25
    """Where the template misses the surfaces by more than this on average, details are opened."""
    teach: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How much stage 1's shape of a structure counts beside the fused map; 0 where it is not named."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0


def unify(
    run: Run,
    cohort: Cohort,
    cases: Sequence[Case],
    stage1: Path | None,
    coarse_phases: Sequence[Phase],
    settings: UnifySettings,
    *,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Fit one function to the fused maps of these cases; returns the model's file, OUT/run/unify/model.zip.

    stage1: the model of `fit`; where it is no template of all bulky structures one is begun anew, with
    `coarse_phases`. Goes on from the last checkpoint; done is done. Raises FitError when the loss is no number, and
    ConfigError when there is nothing to learn.
    """
    if not cases:
        raise ConfigError("there is nothing to unify: no case was fused")
    anatomy = cohort.anatomy
    heads = heads_of(anatomy)
    bulky = heads_of(anatomy, without=("tube",))
    if not bulky:
        raise ConfigError(f"anatomy {anatomy.name} has thin vessels alone; a template needs a bulky structure")
    teach = {anatomy.by_name(name).name: weight for name, weight in settings.teach.items()}
    cases = sorted(cases, key=lambda case: case.id)
    ids = [case.id for case in cases]
    folder = run.folder(VERB)
    path = folder / MODEL_FILE
    stamp = fingerprint(
        settings.model_dump(exclude={"checkpoint_seconds"}), anatomy, seed, ids, [stage1 is None],
        *([stage1] if stage1 else []), *(run.result_path(case.labels_path) for case in cases),
        *(run.case_path(PREPARED, id, ".npz") for id in ids),
    )  # fmt: skip
    if run.is_done(VERB, None, stamp) and path.is_file():
        return path
    run.forget(VERB)
    targets = _targets(run, cohort, cases, tuple(heads.values()), settings.resolution, seed, workers)
    where = torch.device(device)
    keeper = _Keeper(folder, stamp, settings.checkpoint_seconds, progress)

    columns = [list(heads).index(name) for name in bulky]
    parts = [target.of_heads(columns) for target in targets]
    template, codes, first = _template(run, cohort, cases, parts, bulky, stage1, coarse_phases[0])
    fitting = Fit(
        template.to(where), codes.to(where), PointSampler(parts, where, seed),
        [*([] if first else coarse_phases), *settings.template_phases],
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    keeper.go_on(fitting, "template", 0, sum(phase.steps for phase in settings.phases))
    followed = fitting.total
    del parts, fitting

    torch.manual_seed(seed)
    shape = UnifiedShape(tuple(heads), template.settings(), settings.side, settings.channels, settings.width)
    shape.template.load_state_dict(template.state_dict())
    # Details make good what rounding took from the template.
    codes = rounded_template(shape, codes)
    codes = with_details(shape, codes, targets, settings.error_mm)
    sampler = JointSampler(
        targets, where, seed, positives=settings.positives,
        teacher=shape_as_teacher(*first, columns, len(heads), where) if first and any(teach.values()) else None,
        teaching=[teach.get(name, 0.0) for name in heads],
    )  # fmt: skip
    fitting = Fit(
        shape.to(where), codes.to(where), sampler, settings.phases,
        cases_per_step=settings.cases_per_step, points=settings.points,
    )  # fmt: skip
    keeper.go_on(fitting, "details", followed, 0)
    names = list(heads)
    absent = {t.case_id: tuple(names[at] for at in np.flatnonzero(~t.present)) for t in targets}
    del targets, sampler, fitting
    _finish(run, cohort, cases, shape.cpu(), codes.cpu(), absent, path)
    run.mark_done(VERB, None, stamp, [path])
    keeper.clear()
    return path


def _finish(
    run: Run, cohort: Cohort, cases: Sequence[Case], shape: UnifiedShape, codes: CodeBook,
    absent: dict[str, tuple[str, ...]], path: Path,
) -> None:  # fmt: skip
    """Write the model, rounded, with the thresholds that suit it so, and its Dice on the maps that it learned."""
    anatomy = cohort.anatomy
    frames = {case.id: Prepared.load(run, case.id).roi for case in cases}
    everyone = [case.id for case in cases]
    least = {name: least_roughness_mm2(found) for name, found in roughnesses_mm2(run, everyone).items()}
    known = {name: value for name, value in least.items() if np.isfinite(value)}
    model = rounded(HeartModel(shape, codes, anatomy, {}, frames, absent, calibres_of(run, everyone), known))

    def asked(case: Case) -> tuple[Fields, Labels]:
        roi = frames[case.id]
        return fields_on(model, model.heart(case.id), roi.source_grid()), fused_labels(run, cohort, case, roi)

    watched = cases[:: max(len(cases) // WATCHED_CASES, 1)][:WATCHED_CASES]
    thresholds = choose_thresholds([asked(case) for case in watched], anatomy, shape.heads)
    found = {}
    for case in cases:
        fields, truth = asked(case)
        guess = decide(fields, anatomy, thresholds)
        ids = {name: anatomy.by_name(name).id for name in shape.heads}
        found[case.id] = {name: dice(guess == id, truth == id) for name, id in ids.items()}
    means = {name: round(float(np.mean([row[name] for row in found.values()])), 4) for name in shape.heads}
    model = replace(model, thresholds=thresholds, about={"dice": means})
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


def _target(wanted: _Wanted) -> Target:
    run = Run.at(wanted.run_out)
    roi = Prepared.load(run, wanted.case.id).roi
    labels = fused_labels(run, wanted.cohort, wanted.case, roi)
    return make_target(
        wanted.case.id, labels, roi, wanted.ids,
        resolution=wanted.resolution, far_share=FAR_SHARE, band_mm=BAND_MM, seed=wanted.seed,
    )  # fmt: skip


def _targets(
    run: Run, cohort: Cohort, cases: Sequence[Case], ids: tuple[int, ...], resolution: int, seed: int, workers: int
) -> list[Target]:
    made = dict[str, Target]()
    jobs = [_Wanted(run.out, cohort, case, ids, resolution, seed) for case in cases]
    for wanted, target, error in each(_target, jobs, workers):
        if error is not None or target is None:
            raise FitError(f"case {wanted.case.id}: no target could be made of its fused map: {error}") from error
        made[wanted.case.id] = target
    return [made[case.id] for case in cases]


def _template(
    run: Run, cohort: Cohort, cases: Sequence[Case], targets: list[Target], bulky: dict[str, int],
    stage1: Path | None, coarsest: Phase,
) -> tuple[TemplateShape, CodeBook, tuple[TemplateShape, CodeBook] | None]:  # fmt: skip
    """The template to go on from, and stage 1's own shape where it is one of these structures."""
    if stage1 is not None:
        (shape, codes), (first, first_codes) = load_model(stage1), load_model(stage1)
        if isinstance(shape, TemplateShape) and isinstance(first, TemplateShape) and shape.heads == tuple(bulky):
            ids = [case.id for case in cases]
            return shape, CodeBook(ids, codes.of(ids)), (first, CodeBook(ids, first_codes.of(ids)))
    by_id = {case.id: case for case in cases}

    def middle_of(case_id: str) -> tuple[Labels, Roi]:
        roi = Prepared.load(run, case_id).roi
        return fused_labels(run, cohort, by_id[case_id], roi), roi

    if not any(np.isfinite(t.centroids).all(axis=1).any() for t in targets):
        raise FitError("no case shows a whole structure, so no template can begin; give a larger field of view")
    side, controls = coarsest.side or 48, coarsest.controls or 6
    shape, codes = begin_template(bulky, targets, middle_of, side, controls)
    return shape, codes, None


class _Keeper:
    """Looks on while the two fits run: tells where they stand, and keeps a checkpoint to go on from."""

    def __init__(self, folder: Path, stamp: str, seconds: float, progress: Progress | None) -> None:
        self._folder, self._stamp, self._seconds, self._progress = folder, stamp, seconds, progress
        self._path, self._before, self._after, self._saved = folder, 0, 0, 0.0

    def go_on(self, fitting: Fit, name: str, before: int, after: int) -> None:
        """Run a fit to its end, from its checkpoint if there is one; before, after: steps of the other fits."""
        self._path, self._before, self._after = self._folder / f"{name}.safetensors", before, after
        mark = self._path.with_suffix(".json")
        if (
            mark.is_file()
            and self._path.is_file()
            and json.loads(mark.read_text(encoding="utf-8")).get("mark") == self._stamp
        ):
            load_fit(self._path, fitting)
            log.info("unify: going on with the %s", name)
        else:
            self._path.unlink(missing_ok=True)
            write_json(mark, {"mark": self._stamp})
        self._saved = time.monotonic()
        fitting.run(self)

    def clear(self) -> None:
        """Away with the checkpoints."""
        for name in ("template", "details"):
            for ending in (".safetensors", ".json"):
                (self._folder / f"{name}{ending}").unlink(missing_ok=True)

    def stepped(self, step: Step) -> None:
        if self._progress is not None:
            total = self._before + step.total + self._after
            self._progress(replace(step, number=self._before + step.number, total=total), None)

    def reached(self, fit: Fit) -> None:
        if fit.done or time.monotonic() - self._saved > self._seconds:
            save_fit(self._path, fit)
            self._saved = time.monotonic()

    def halved(self, points: int) -> None:
        log.warning("unify: memory ran out; from here a step takes %d points in a case", points)
