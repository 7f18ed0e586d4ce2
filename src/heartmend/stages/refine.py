"""refine: from the fitted shapes to each case's masks, on the grid that the case came on or at any resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import Outcome, each
from heartmend.errors import ConfigError, RunError
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.geometry.surface_noise import lowest_surface_noise_mm2
from heartmend.io.atomic import read_json, write_json
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import fingerprint
from heartmend.io.nifti import write_volume
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import render_case
from heartmend.repair.fusion import fuse
from heartmend.repair.shape_label_fusion import fuse_shape_and_label
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers, load_classifiers
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import (
    PREPARED,
    REFINED,
    Fields,
    PreparedCase,
    roi_image,
    save_fields,
    surface_noises_mm2,
)
from heartmend.training.checkpoint import load_model

VERB = REFINED
SURE_MM = 0.25
"""A voxel that lies so deep in a shape of distances has the log odds 1: about what shapes are beside the truth."""
Votes = dict[str, float | None]
"""How deep in the shape a voxel must lie to be taken against its label, by structure; None: the label alone counts."""


class RefineSettings(BaseModel):
    """How shapes become masks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_weight: Annotated[float, Field(ge=0)] = 0.5
    """How much a label counts beside the shape, for a misfit as large as its noise; 0: the shape alone decides."""


def refine_case(
    shape: Shape, codes: CodeBook, case: PreparedCase, heads: dict[str, int], settings: RefineSettings,
    least: dict[str, float] | None = None,
) -> tuple[Fields, Votes]:  # fmt: skip
    """Signed distances in mm (positive inside) of each structure on the source voxels in the ROI, and what its label
    counted for.

    A label is right nearly everywhere and wrong in patches, there by more than a voxel; a shape is a little beside
    the truth everywhere. So the shape is first drawn to the label, as far as patches do not pull it, and then a voxel
    keeps its label unless the shape has it on the other side by more than the label's vote (`fuse_shape_and_label`); where the shape
    has nothing to say the label stays as it is. A structure that the label map lacks stays absent: its field is
    outside everywhere. least: the roughness (mm²) of the cohort's cleanest labels, by structure.
    """
    fields = render_case(shape, codes, case.case_id, case.roi)
    spacing, least = case.roi.grid.spacing_mm, least or {}
    votes: Votes = {}
    for name, field in fields.items():
        label = without_small_components(case.source == heads[name])
        if not label.any():
            fields[name] = np.full_like(field, -CLIP_MM)
        elif shape.is_distance and settings.label_weight > 0:
            field = np.clip(field, -CLIP_MM, CLIP_MM)
            trust = fuse_shape_and_label(
                label, field, spacing, case.slice_staircase_mm, least.get(name, np.inf), settings.label_weight
            )
            known = np.isfinite(trust.label_margin_mm)
            votes[name] = round(trust.label_margin_mm, 4) if known else None
            fields[name] = trust.decided_mm(label) if known else signed_distance_mm(label, spacing)
    return fields, votes


def write_render(run: Run, case_id: str, path: Path, resolution: int, probability: str = "") -> None:
    """Write what the fitted shape alone says of a case, (n, n, n) in axes right, anterior, superior, as NIfTI.

    A label map (uint8) by the anatomy's priority, or with the name of a structure its probability (float32). Raises
    RunError when the run is not fitted, ConfigError for a case or structure that was no part of the fit.
    """
    model = run.folder("fit") / "model.safetensors"
    if not model.is_file():
        raise RunError(f"{run.out}: not fitted yet; run `heartmend fit` first")
    anatomy = Anatomy.model_validate(read_json(run.root / "anatomy.json"))
    shape, codes = load_model(model)
    case = PreparedCase.load(run, case_id)
    fields = render_case(shape, codes, case_id, case.roi, resolution)
    grid = case.roi.grid_at(resolution)
    if not probability:
        write_volume(fuse(fields, anatomy, grid.spacing_mm), grid, path)
        return
    name = anatomy.by_name(probability).name
    if name not in fields:
        raise ConfigError(f"{name} was no part of the fit; there are {', '.join(fields)}")
    logits = fields[name] / SURE_MM if shape.is_distance else fields[name]
    write_volume(1 / (1 + np.exp(-logits)), grid, path)


@dataclass(frozen=True, eq=False)
class _Job:
    run_out: Path
    model: Path | None
    around: Path | None
    case_id: str
    heads: dict[str, int]
    settings: RefineSettings
    least: dict[str, float]
    mark: str
    reader: Cohort | None = None
    case: Case | None = None


_MODELS: dict[Path, tuple[Shape, CodeBook]] = {}
_JUDGES: dict[Path, VoxelClassifiers] = {}
"""One model in each process, read once."""


def refine(
    run: Run,
    model: Path | None,
    case_ids: Sequence[str],
    heads: dict[str, int],
    settings: RefineSettings,
    workers: int = 0,
    least: dict[str, float] | None = None,
    around: Path | None = None,
    images: Cohort | None = None,
) -> Iterator[Outcome[str, None]]:
    """Refine every case that is not refined yet with this model; yields each case id with its error, if any.

    around: what was learned of structures that are mended by their surroundings. Without it and without a model
    nothing is refined: then only thin vessels were asked for, which need neither. images: the cohort, if its images are
    to be looked at too by what was learned of surroundings. least: how rough (mm²) the cleanest
    labels are, by structure, where that is known from other cases than these.
    """
    if model is None and around is None:
        yield from ((case_id, None, None) for case_id in case_ids)
        return
    _MODELS.clear()
    _JUDGES.clear()
    if least is None:
        least = {name: lowest_surface_noise_mm2(found) for name, found in surface_noises_mm2(run, case_ids).items()}
    jobs = []
    for case_id in case_ids:
        learned = [path for path in (model, around) if path is not None]
        case = images[case_id] if images is not None and around is not None else None
        shown = [case.image_path] if case is not None and case.image_path is not None else []
        stamp = fingerprint(*learned, run.case_path(PREPARED, case_id, ".npz"), settings, heads, least, *shown)
        if run.is_done(VERB, case_id, stamp):
            yield case_id, None, None
        else:
            reader = images.without_cases() if images is not None and shown else None
            jobs.append(_Job(run.out, model, around, case_id, heads, settings, least, stamp, reader, case))
    for job, _, error in each(_work, jobs, workers):
        yield job.case_id, None, error


def _work(job: _Job) -> None:
    run = Run.at(job.run_out)
    if run.is_done(VERB, job.case_id, job.mark):  # by a worker of a cluster that was lost since
        return
    case = PreparedCase.load(run, job.case_id)
    fields: Fields = {}
    votes: Votes = {}
    if job.model is not None:
        if job.model not in _MODELS:
            _MODELS[job.model] = load_model(job.model)
        fields, votes = refine_case(*_MODELS[job.model], case, job.heads, job.settings, job.least)
    if job.around is not None:
        if job.around not in _JUDGES:
            _JUDGES[job.around] = load_classifiers(job.around)
        judges, spacing_mm = _JUDGES[job.around], case.roi.grid.spacing_mm
        image = None if job.reader is None or job.case is None else roi_image(job.reader, job.case, case.roi)
        for name in judges.names & job.heads.keys():
            fields[name] = judges.field(name, case.source == job.heads[name], spacing_mm, image)
    run.forget(VERB, job.case_id)
    save_fields(run.case_path(VERB, job.case_id, ".npz"), fields)
    write_json(run.case_path(VERB, job.case_id, ".json"), {"label_margin_mm": votes})
    run.mark_done(VERB, job.case_id, job.mark, [run.case_path(VERB, job.case_id, e) for e in (".npz", ".json")])
