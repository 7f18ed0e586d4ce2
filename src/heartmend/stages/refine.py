"""refine: from the fitted shapes to each case's masks, on the grid that the case came on or at any resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from heartmend.data import Run, array_digest, fingerprint
from heartmend.learning.checkpoint import load_model
from heartmend.learning.residual import with_residual
from heartmend.learning.targets import CLIP_MM, signed_distance_mm, without_crumbs
from heartmend.shapes import CodeBook, Shape
from heartmend.shapes.render import Axes, render
from heartmend.shapes.tables import cell_centres
from heartmend.space import Roi
from heartmend.stages.handover import REFINED, Fields, Prepared, save_fields
from heartmend.stages.workers import Outcome, each

VERB = REFINED


class RefineSettings(BaseModel):
    """How shapes become masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    residual_mm: Annotated[float, Field(ge=0)] = 1.0
    """What the label says beyond the shape counts when it is smooth over this length; 0: the shape alone decides."""


def render_case(shape: Shape, codes: CodeBook, case_id: str, roi: Roi, resolution: int | None = None) -> Fields:
    """Logits of each head: on the source voxels in the ROI (in the source's axes), or (n, n, n) of the unit frame."""
    code = codes.of([case_id])
    if resolution is not None:
        axis = cell_centres(resolution).numpy()
        logits = render(shape, code, (axis, axis, axis), roi.size_mm)
    else:
        source = roi.source_axes()
        x, y, z = (source.coordinates[axis] for axis in source.axes)
        axes: Axes = (x, y, z)
        back = np.argsort(source.axes) + 1
        logits = render(shape, code, axes, roi.size_mm).transpose(0, *back)
    return dict(zip(shape.heads, logits, strict=True))


def refine_case(
    shape: Shape, codes: CodeBook, case: Prepared, heads: dict[str, int], settings: RefineSettings
) -> Fields:
    """Signed distances in mm (positive inside) of each structure on the source voxels in the ROI.

    A structure that the label map lacks stays absent: its field is outside everywhere.
    """
    fields = render_case(shape, codes, case.case_id, case.roi)
    spacing = case.roi.grid.spacing_mm
    for name, field in fields.items():
        label = case.source == heads[name]
        if not label.any():
            fields[name] = np.full_like(field, -CLIP_MM)
        elif shape.is_distance and settings.residual_mm > 0:
            label_mm = signed_distance_mm(without_crumbs(label), spacing)
            fields[name] = with_residual(np.clip(field, -CLIP_MM, CLIP_MM), label_mm, spacing, settings.residual_mm)
    return fields


@dataclass(frozen=True, eq=False)
class _Job:
    run_out: Path
    model: Path
    case: Prepared
    heads: dict[str, int]
    settings: RefineSettings
    mark: str


_MODELS: dict[Path, tuple[Shape, CodeBook]] = {}
"""One model in each process, read once."""


def refine(
    run: Run,
    model: Path | None,
    cases: Sequence[Prepared],
    heads: dict[str, int],
    settings: RefineSettings,
    workers: int = 0,
) -> Iterator[Outcome[str, None]]:
    """Refine every case that is not refined yet with this model; yields each case id with its error, if any.

    Without a model nothing is refined: then only thin vessels were asked for, which need none.
    """
    if model is None:
        yield from ((case.case_id, None, None) for case in cases)
        return
    _MODELS.clear()
    jobs = []
    for case in cases:
        stamp = fingerprint(model, array_digest(case.source), settings, heads)
        if run.is_done(VERB, case.case_id, stamp):
            yield case.case_id, None, None
        else:
            jobs.append(_Job(run.out, model, case, heads, settings, stamp))
    for job, _, error in each(_work, jobs, workers):
        yield job.case.case_id, None, error


def _work(job: _Job) -> None:
    if job.model not in _MODELS:
        _MODELS[job.model] = load_model(job.model)
    shape, codes = _MODELS[job.model]
    run = Run.at(job.run_out)
    fields = refine_case(shape, codes, job.case, job.heads, job.settings)
    run.forget(VERB, job.case.case_id)
    save_fields(run.case_path(VERB, job.case.case_id, ".npz"), fields)
    run.mark_done(VERB, job.case.case_id, job.mark)
