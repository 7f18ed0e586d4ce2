"""refine: from the fitted shapes to the distance maps of each case, on the grid of its label map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import boxes_by_id, relative_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, DistanceMap
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_near_surfaces
from heartmend.repair.changes import Change
from heartmend.repair.confused_labels import names_to_replace, replaced_remark
from heartmend.repair.merged_structures import merge_structures
from heartmend.repair.shape_label_fusion import fuse_shape_and_label, fusion_margin_mm
from heartmend.repair.unusual_anatomy import MIRRORED, TURNED, UnusualAnatomy, find_unusual_anatomy, pose_remark
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CLASSIFIERS, FIT, PREPARE, REFINE
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import Context, Outcome

Margins = dict[str, float | None]
"""How deep in the shape a voxel must be to be taken against its label, by structure; None: the label alone counts."""


class RefineSettings(BaseModel):
    """Settings of `refine`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_weight: Annotated[float, Field(strict=True, ge=0, le=1000)] = 0.5
    """Weight of a label beside the shape, where the misfit is as large as its noise; 0: the shape alone decides."""
    local_misfit: Annotated[float, Field(strict=True, ge=0, le=100)] = 1.0
    """Weight of the local part of the misfit, by which a label counts more where its heart differs from the template;
    0: the same margin everywhere; at least 6 with a prior."""


def refine(context: Context[RefineSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Refine every case that is not refined yet.

    Where neither a shape nor a classifier was fitted there is nothing to refine: then only thin vessels are repaired.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, plan = context.run, context.plan
    if not plan.refined:
        yield from map(Outcome, cases)
        return
    _CLASSIFIERS.clear()
    lowest_noise_mm2 = dict(context.statistics(cases).lowest_surface_noise_mm2)
    confused, jobs = run.confused_cases(), []
    for case in cases:
        if plan.learns_from_trusted and case.id in plan.trusted_cases and run.is_stamped(REFINE, case.id):
            # As it was before the fit learned from it: `correct` measures what the trusted map has otherwise.
            yield Outcome(case)
            continue
        reads_image = bool(plan.classified) and plan.classifier_images and case.image_path is not None
        fingerprint = compute_fingerprint(
            run.digest(FIT), run.digest(CLASSIFIERS), run.digest(PREPARE, case.id), context.config, plan.refined,
            lowest_noise_mm2, *([case.image_path] if reads_image else []),
        )  # fmt: skip
        if run.is_done(REFINE, case.id, fingerprint):
            yield Outcome(case)
        else:
            reader = context.cohort.without_cases() if reads_image else None
            heads = dict(plan.shaped), dict(plan.classified)
            job = _Job(
                run.output, case, *heads, context.config, lowest_noise_mm2, context.cohort.anatomy, fingerprint, reader,
                case.id in confused,
            )  # fmt: skip
            jobs.append(job)
    for job, _, error in context.compute.each(_work, jobs):
        yield Outcome(job.case, error)


@dataclass(frozen=True, eq=False)
class Refinement:
    """Refined structures of a case.

    Attributes:
        maps: distance map of each structure on the voxels of the ROI, by name.
        margins: label margins in mm, by structure.
        changes: remarks about unusual anatomy, and about structures that are part of another one.
        misfits_mm: median distance between label and fitted shape, by structure.
    """

    maps: dict[str, DistanceMap]
    margins: Margins
    changes: tuple[Change, ...] = ()
    misfits_mm: dict[str, float] = field(default_factory=dict)


def refine_case(
    fitted: tuple[Shape, CodeBook], case: PreparedCase, anatomy: Anatomy, heads: Mapping[str, int],
    settings: RefineSettings, lowest_noise_mm2: Mapping[str, float] | None = None, *, is_confused: bool = False,
) -> Refinement:  # fmt: skip
    """Compute the distance maps of the refined structures of one case.

    A label is right nearly everywhere and wrong in patches, there by more than a voxel; a shape is slightly beside the
    truth everywhere. So the shape is first moved to the label by a robust smooth registration, and then a voxel keeps
    its label unless the shape disagrees by more than a margin (`fuse_shape_and_label`). Where the shape is too far from
    its label, the label alone counts; so it does in and around parts that are large and deep enough to be unusual
    anatomy (`find_unusual_anatomy`). A structure that the label map lacks stays absent, or part of its neighbour
    (`merge_structures`).

    Args:
        fitted: the shape and the codes of its cases.
        case: the prepared case.
        anatomy: the anatomy.
        heads: name -> id of the structures.
        settings: settings of the stage.
        lowest_noise_mm2: surface noise (mm²) of the cleanest labels of the cohort, by structure.
        is_confused: whether the shape was placed in the whole label map, because structures are called by the names of
            others. Then the shape alone counts for those.

    Returns:
        The refined structures.
    """
    shape, codes = fitted
    by_label = shape.is_distance and settings.label_weight > 0
    spacing, boxes = case.roi.grid.spacing_mm, boxes_by_id(case.cleaned)
    around = {name: boxes[id] for name, id in heads.items() if id in boxes}
    fields = evaluate_near_surfaces(shape, codes, case.case_id, case.roi, around, fusion_margin_mm(spacing))
    maps, margins, misfits_mm = dict[str, DistanceMap](), Margins(), dict[str, float]()
    unusual, replaced = UnusualAnatomy(None, []), frozenset[str]()
    merged = merge_structures(case.cleaned, fields, anatomy, case.roi.source_grid())
    fields = merged.shapes_mm
    if by_label:
        if is_confused:
            shapes = {name: DistanceMap.of_field(one, keep_inside=True).inside for name, one in fields.items()}
            replaced = names_to_replace(case.cleaned, shapes, anatomy)
        else:
            # In a confused label map, what is unusual is wrong.
            unusual = find_unusual_anatomy(case.cleaned, fields, anatomy, case.roi.source_grid())
        if is_mirrored(codes.of([case.case_id])):
            unusual.changes.append(pose_remark(MIRRORED, case.roi.source_box(), case.roi.grid))
        elif is_turned(codes.of([case.case_id])):
            unusual.changes.append(pose_remark(TURNED, case.roi.source_box(), case.roi.grid))
    for name, shape_mm in fields.items():
        refined = shape_mm
        if heads[name] not in boxes:
            refined = replace(shape_mm, values=np.full_like(shape_mm.values, -CLIP_MM))
        elif by_label:
            label = without_small_components(case.cleaned[shape_mm.box] == heads[name])
            for part in unusual.detached.get(name, ()):
                label[relative_box(part.box, shape_mm.box)] |= part.mask
            fused = fuse_shape_and_label(
                label, shape_mm.values, spacing, case.facts.slice_staircase_mm,
                (lowest_noise_mm2 or {}).get(name, np.inf), settings.label_weight, settings.local_misfit,
            )  # fmt: skip
            margins[name] = round(fused.label_margin_mm, 4) if np.isfinite(fused.label_margin_mm) else None
            misfits_mm[name] = round(fused.misfit_mm, 4)
            near = shape_mm.cropped(fused.box)
            kept = None if unusual.kept is None else unusual.kept[near.box]
            refined = replace(near, values=fused.fused_mm(kept))
            if name in replaced:
                refined, margins[name] = shape_mm, 0.0
        maps[name] = DistanceMap.of_field(refined, keep_inside=True)
    remarks = [replaced_remark(name, case.cleaned == heads[name], maps[name], case.roi) for name in sorted(replaced)]
    changes = (*unusual.changes, *merged.changes, *(one for one in remarks if one is not None))
    return Refinement(maps, margins, changes, misfits_mm)


def is_mirrored(code: Codes) -> bool:
    """Test whether a case is mirrored beside the template.

    Args:
        code: code of one case.

    Returns:
        Whether its affine map contains a reflection; False for a shape without affine maps.
    """
    return "affine" in code and float(torch.linalg.det(code["affine"][0, :, :3].detach().float())) < 0


def is_turned(code: Codes) -> bool:
    """Test whether a case is turned by half a turn beside the template: two of its axes are reversed.

    Args:
        code: code of one case.

    Returns:
        Whether they are; False for a mirrored case, and for a shape without affine maps.
    """
    if "affine" not in code or is_mirrored(code):
        return False
    return int((torch.diagonal(code["affine"][0, :, :3].detach()) < 0).sum()) == 2


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    case: Case
    shaped: dict[str, int]
    classified: dict[str, int]
    settings: RefineSettings
    lowest_noise_mm2: dict[str, float]
    anatomy: Anatomy
    fingerprint: str
    reader: Cohort | None = None
    is_confused: bool = False


_CLASSIFIERS: dict[Path, VoxelClassifiers] = {}
"""One model in each process, read once."""


def _work(job: _Job) -> None:
    run, id = RunFolder.at(job.output), job.case.id
    # A worker of a cluster that was lost since may have done it.
    if run.is_done(REFINE, id, job.fingerprint):
        return
    case = run.prepared(id)
    refined = Refinement({}, {})
    if job.shaped:
        fitted, lowest = run.fitted_once(), job.lowest_noise_mm2
        refined = refine_case(fitted, case, job.anatomy, job.shaped, job.settings, lowest, is_confused=job.is_confused)
    maps = refined.maps
    if job.classified:
        if job.output not in _CLASSIFIERS:
            _CLASSIFIERS[job.output] = run.classifiers()
        classifiers, spacing_mm = _CLASSIFIERS[job.output], case.roi.grid.spacing_mm
        image = None if job.reader is None else job.reader.read_roi_image(job.case, case.roi)
        for name in classifiers.names & job.classified.keys():
            distance_mm = classifiers.distance_mm(name, case.cleaned == job.classified[name], spacing_mm, image)
            maps[name] = DistanceMap.of_mm(distance_mm, keep_inside=True)
    run.forget(REFINE, id)
    run.finish(
        REFINE, id, job.fingerprint, run.write_refined(id, maps, refined.margins, refined.changes, refined.misfits_mm)
    )
