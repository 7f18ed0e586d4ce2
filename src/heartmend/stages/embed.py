"""embed: a heart that the model never saw. Its weights are frozen; only the case's code is fitted.

Twice: to the label map as it was prepared, by the template's own stiff code, which cannot follow noise and so mends it;
and, once the map is mended, by the whole code, so that the heart is one more point in the model's space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from heartmend.compute.workers import Outcome, each
from heartmend.errors import FitError
from heartmend.io.dataset import Case, Cohort
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model
from heartmend.models.splines import refined
from heartmend.models.template import TemplateShape
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PreparedCase, fused_labels
from heartmend.training.alignment import affine_to
from heartmend.training.details import with_details
from heartmend.training.initialise import template_summary
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.sampling import sample_case, sample_fused_case
from heartmend.training.schedule import Phase
from heartmend.types import Labels

VERB = "embed"
Code = dict[str, np.ndarray]
"""The code of one case: arrays whose first axis has length one."""

PLACEMENT = (
    Phase(steps=60, code_lr=0.010, shape_lr=0, controls=6, tolerance_mm=3.0),
    Phase(steps=60, code_lr=0.008, shape_lr=0, controls=8, tolerance_mm=3.0),
    Phase(steps=80, code_lr=0.006, shape_lr=0, controls=10),
    Phase(steps=200, code_lr=0.005, shape_lr=0, controls=12, tolerance_mm=1.5, regularisation=3e-5),
)
"""Stage 1's phases for one case: coarse to fine, as stiff as there."""
FOLLOW_PHASES = Phase(steps=100, code_lr=0.004, shape_lr=0, tolerance_mm=1.5)
DETAIL_PHASES = Phase(steps=400, code_lr=0.06, shape_lr=0, loss="joint", tolerance_mm=1.0, regularisation=1e-4)


class EmbedSettings(BaseModel):
    """How a new heart is met."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    placing: tuple[Phase, ...] = PLACEMENT
    following: Phase = FOLLOW_PHASES
    detailing: Phase = DETAIL_PHASES
    points: Annotated[int, Field(ge=64)] = 3000
    """Points in each step."""
    resolution: Annotated[int, Field(ge=32, le=512)] = 256
    """As `unify.resolution`."""
    error_mm: Annotated[float, Field(ge=0)] = 0.25
    """As `unify.error_mm`."""


def place_case(
    model: HeartModel, case: PreparedCase, settings: EmbedSettings, seed: int = 0
) -> dict[str, torch.Tensor]:
    """The affine map and field (a code of one case) that lay the template onto a prepared label map.

    Structures that the map lacks have no say, so a part of a heart is enough. FitError when it has none of them.
    """
    anatomy, template = model.anatomy, model.shape.template
    present = [name for name in template.heads if (case.source == anatomy.by_name(name).id).any()]
    if not present:
        raise FitError(f"case {case.case_id}: shows none of {', '.join(template.heads)}; nothing says where it lies")
    ids = [anatomy.by_name(name).id for name in present]
    target = sample_case(case.case_id, case.source, case.roi, ids, resolution=case.labels.shape[0], seed=seed)
    shape = _part_of(template, present)
    first = settings.placing[0]
    shape.controls = first.controls or shape.controls
    codes = shape.new_codes(1)
    goal = template_summary(shape, _mean_size_mm(model))
    codes["affine"][0] = torch.from_numpy(affine_to(target, goal)).float()
    book = CodeBook([case.case_id], codes)
    phases = [replace(phase, side=template.side) for phase in settings.placing]
    Fit(
        shape, book, PointSampler([target], torch.device("cpu"), seed), phases, cases_per_step=1,
        points=settings.points,
    ).run(_Quiet())  # fmt: skip
    found = {name: code.detach() for name, code in book.values.items()}
    return {**found, "field": refined(found["field"], template.controls)}


def encode_case(
    model: HeartModel, case: PreparedCase, mended: Labels, start: dict[str, torch.Tensor], settings: EmbedSettings,
    seed: int = 0,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """The whole code of one case for its mended map (source voxels in the ROI), beginning where it was placed."""
    anatomy, shape = model.anatomy, model.shape
    ids = [anatomy.by_name(name).id for name in shape.heads]
    target = sample_fused_case(case.case_id, mended, case.roi, ids, settings.resolution, seed)
    here = torch.device("cpu")
    columns = [at for at, name in enumerate(shape.heads) if name in shape.template.heads and target.present[at]]
    part = _part_of(shape.template, [shape.heads[at] for at in columns])
    book = CodeBook([case.case_id], start)
    if columns:
        following = replace(settings.following, side=part.side, controls=part.controls)
        Fit(
            part, book, PointSampler([target.of_heads(columns)], here, seed), [following], cases_per_step=1,
            points=settings.points,
        ).run(_Quiet())  # fmt: skip
    book = with_details(shape, book, [target], settings.error_mm)
    sampler = JointSampler([target], here, seed, positives=settings.points // 50)
    Fit(shape, book, sampler, [settings.detailing], cases_per_step=1, points=settings.points).run(_Quiet())
    return {name: code.detach() for name, code in book.values.items()}


def _part_of(template: TemplateShape, names: Sequence[str]) -> TemplateShape:
    """The template with some of its structures."""
    part = TemplateShape(tuple(names), template.side, template.controls)
    columns = [template.heads.index(name) for name in names]
    with torch.no_grad():
        part.table.copy_(template.table[:, columns])
    return part


def _mean_size_mm(model: HeartModel) -> tuple[float, float, float]:
    sizes = np.mean([roi.size_mm for roi in model.frames.values()], axis=0)
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


class _Quiet:
    """Looks on and says nothing: a case takes seconds."""

    def stepped(self, step: Step) -> None: ...

    def reached(self, fit: Fit) -> None: ...

    def halved(self, points: int) -> None: ...


@dataclass(frozen=True)
class _Job:
    run_out: Path
    model: Path
    cohort: Cohort
    case: Case
    settings: EmbedSettings
    seed: int
    start: Code | None = None


_MODELS: dict[Path, HeartModel] = {}
"""One model in each process, read once."""


def place(
    run: Run, model: Path, cohort: Cohort, cases: Sequence[Case], settings: EmbedSettings, seed: int = 0,
    workers: int = 0,
) -> Iterator[Outcome[str, Code]]:  # fmt: skip
    """Lay the model's template onto every prepared case; yields each case id with its code, or its error."""
    jobs = [_Job(run.out, model, cohort.without_cases(), case, settings, seed) for case in cases]
    yield from ((job.case.id, code, error) for job, code, error in each(_place, jobs, workers))


def encode(
    run: Run, model: Path, cohort: Cohort, placed: Mapping[Case, Code], settings: EmbedSettings, seed: int = 0,
    workers: int = 0,
) -> Iterator[Outcome[str, Code]]:  # fmt: skip
    """The whole code of every mended case; yields each case id with it, or with its error."""
    jobs = [_Job(run.out, model, cohort.without_cases(), case, settings, seed, start) for case, start in placed.items()]
    yield from ((job.case.id, code, error) for job, code, error in each(_encode, jobs, workers))


def _model(path: Path) -> HeartModel:
    if path not in _MODELS:
        _MODELS[path] = load_heart_model(path)
    return _MODELS[path]


def _place(job: _Job) -> Code:
    prepared = PreparedCase.load(Run.at(job.run_out), job.case.id)
    return _arrays(place_case(_model(job.model), prepared, job.settings, job.seed))


def _encode(job: _Job) -> Code:
    run = Run.at(job.run_out)
    case = PreparedCase.load(run, job.case.id)
    mended = fused_labels(run, job.cohort, job.case, case.roi)
    start = {name: torch.from_numpy(value) for name, value in (job.start or {}).items()}
    return _arrays(encode_case(_model(job.model), case, mended, start, job.settings, job.seed))


def _arrays(code: dict[str, torch.Tensor]) -> Code:
    return {name: value.numpy() for name, value in code.items()}
