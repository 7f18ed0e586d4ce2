"""fuse: from the distance maps of a case to one label map that obeys the anatomy, with a log of every change.

For each case: each refined structure is accepted or rejected beside its original, errors that all cases share are
corrected, thin vessels are repaired as trees, all structures are fused by evidence and priority, boundaries move to the
edges of the CT, and the rules of anatomy are applied. The result is on the grid of the input; outside the region of
interest only far components are removed.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.io.forms.open import open_label_map
from heartmend.io.label_maps import LabelVolume
from heartmend.io.label_writing import restore_values
from heartmend.models.template import TemplateShape
from heartmend.repair import far_components, merged_structures
from heartmend.repair.acceptance import Verdict, check_acceptance
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change, box_in_mm
from heartmend.repair.contacts import CohortTemplate, is_better_than_most, place_contacts
from heartmend.repair.fusion import Mode
from heartmend.repair.fusion import fuse as fuse_maps
from heartmend.repair.image_edges.case import snap_case
from heartmend.repair.lost_parts import name_lost_parts
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.segment_names import has_segment_names, name_case_segments
from heartmend.repair.shared_errors.case import CaseCorrection, CorrectedCase, correct_case
from heartmend.repair.shared_errors.own_errors import correct_own_errors
from heartmend.repair.uncertainty.case import judge_case
from heartmend.repair.uncertainty.evidence import RepairedRoi
from heartmend.repair.vessels.calcium import Calcium
from heartmend.repair.vessels.case import repair_vessel
from heartmend.repair.vessels.settings import ImageUse
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT, FUSE, PREPARE, REFINE
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import Context, Outcome
from heartmend.types import BACKGROUND, Labels

if TYPE_CHECKING:
    from heartmend.models.code_book import CodeBook
    from heartmend.repair.shared_errors.correction import Correction


class FuseSettings(BaseModel):
    """Settings of `fuse`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "evidence"
    """How a voxel that several structures claim is decided: by evidence and priority, or by priority alone."""
    margin_mm: Annotated[float, Field(strict=True, ge=0, le=100)] = 1.0
    """How much deeper a voxel must be in a structure to belong to it against the priority."""
    repair_vessels: Annotated[bool, Field(strict=True)] = True
    """Repair thin vessels as trees; off: their labels stay unchanged."""
    missing_branches: Annotated[bool, Field(strict=True)] = False
    """Add branches of thin vessels that the label lacks and the CT shows; each is listed for a review."""
    calcium: Calcium = "as_labelled"
    """Whether calcified plaques belong to the label of a thin vessel where a CT shows them: as it has them, "included"
    or "excluded"."""
    image_edges: Annotated[bool, Field(strict=True)] = True
    """Move boundaries to the edges of the CT, where there is one; off: labels alone decide."""
    uncertainty: Annotated[bool, Field(strict=True)] = False
    """Write the probability that the label of a voxel is wrong to OUT/uncertainty, in percent."""
    segments: Annotated[bool, Field(strict=True)] = False
    """Write the segments of the coronary arteries to OUT/segments, with the ids of ImageCAS-X."""

    @property
    def reads_images(self) -> bool:
        """Whether CTs are read at all."""
        return self.repair_vessels or self.image_edges


def fuse(context: Context[FuseSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Fuse every refined case that is not fused yet, into OUT/labels.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, cohort, settings, plan = context.run, context.cohort, context.config, context.plan
    structures = plan.structures
    trusted = plan.trusted_cases
    statistics = context.statistics(cases)
    calibres = corrected_calibres(run, statistics.calibres) if settings.repair_vessels else {}
    calibre_table = {name: asdict(calibre) for name, calibre in calibres.items()}
    jobs = []
    for case in cases:
        unusual = statistics.unusual_sizes.get(case.id, ())
        fingerprint = compute_fingerprint(
            run.digest(REFINE, case.id), run.digest(PREPARE, case.id), run.digest(CORRECT), case.labels_path, settings,
            structures, trusted[case.id].labels_path if case.id in trusted else "",
            cohort.anatomy, calibre_table, [one.to_dict() for one in unusual],
            *([case.image_path] if case.image_path and settings.reads_images else []),
        )  # fmt: skip
        is_kept = case.id in plan.kept and run.has_fused(case)
        if is_kept or run.is_done(FUSE, case.id, fingerprint):
            yield Outcome(case)
        else:
            jobs.append(
                _Job(run.output, cohort.without_cases(), case, settings, structures, calibres, fingerprint,
                     None if plan.trusted is None or case.id not in trusted
                     else (plan.trusted.without_cases(), trusted[case.id]), unusual)
            )  # fmt: skip
    _CORRECTIONS.clear()
    _TEMPLATES.clear()
    moved = {job.case.id: run.set_aside(job.case.id, run.result_path(job.case)) for job in jobs}
    for job, _, error in context.compute.each(_work, jobs):
        if error is None:
            run.resolve_set_aside(run.result_path(job.case), moved[job.case.id])
        yield Outcome(job.case, error)


def corrected_calibres(run: RunFolder, calibres: Mapping[str, Calibre]) -> dict[str, Calibre]:
    """Correct the radii of thin vessels by the error that all cases share.

    Args:
        run: the run, with a correction or without.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The corrected radii.
    """
    convention = run.convention()
    shifts = {} if convention is None else convention.correction.tubes_mm
    return {name: replace(one, mean_mm=one.mean_mm + shifts.get(name, 0.0)) for name, one in calibres.items()}


@dataclass(frozen=True, eq=False)
class RefinedCase:
    """A case that is to be fused.

    Attributes:
        original: (x, y, z) uint8, the label map before any repair, on the whole grid.
        prepared: the prepared case.
        maps: distance maps of the refined structures on the voxels of the ROI, by name.
        image: (x, y, z) CT in HU on the whole grid; None where there is none.
        remarks: remarks of `refine` about unusual anatomy.
        correction: correction of the errors that all cases share; None where there is none.
        margins_mm: label margin of each refined structure; None where the label alone counts.
        misfits_mm: median distance between label and fitted shape of each refined structure.
        corrects_own_errors: whether surfaces that are beside the edges of the case's own CT are moved there, as those
            of all cases were.
        template: template of the data set, to whose contacts those of a case with errors of its own are moved; None
            where they stay.
    """

    original: Labels
    prepared: PreparedCase
    maps: Mapping[str, DistanceMap]
    image: npt.NDArray[np.generic] | None = None
    remarks: tuple[Change, ...] = ()
    correction: CaseCorrection | None = None
    margins_mm: Mapping[str, float | None] = field(default_factory=dict)
    misfits_mm: Mapping[str, float] = field(default_factory=dict)
    corrects_own_errors: bool = False
    template: CohortTemplate | None = None


@dataclass(frozen=True, eq=False)
class FusedCase:
    """A repaired case.

    Attributes:
        labels: (x, y, z) uint8, the repaired label map on the whole grid.
        log: what was changed.
        judged: what the case is judged by, on the voxels of its ROI; None where it is not judged.
        percent: (x, y, z) uint8, the probability of an error in percent, on the voxels of its ROI; None where it is not
            wanted, and as before.
    """

    labels: Labels
    log: ChangeLog
    judged: RepairedRoi | None = None
    percent: Labels | None = None


def fuse_case(
    case: RefinedCase,
    anatomy: Anatomy,
    settings: FuseSettings,
    structures: tuple[str, ...] = (),
    calibres: Mapping[str, Calibre] | None = None,
) -> FusedCase:
    """Fuse the structures of one case into a label map.

    Args:
        case: the refined case. A structure without a distance map is fused as it was prepared.
        anatomy: the anatomy.
        settings: settings of the stage.
        structures: names of the structures that may change; empty: all of them.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The repaired label map on the grid of the input, and what was changed.
    """
    case, changes = _without_far_components(case, anatomy, structures)
    changes += case.remarks
    roi, cleaned = case.prepared.roi, case.prepared.cleaned
    box, spacing = roi.source_box(), roi.grid.spacing_mm
    volume = CaseVolume(roi.grid, box, None if case.image is None else case.image[box])
    original = np.ascontiguousarray(case.original[box])
    tubes = [structure for structure in anatomy.structures if structure.kind == "tube"]
    repaired = [one for one in tubes if settings.repair_vessels and (not structures or one.name in structures)]
    maps, verdicts = _accepted_maps(case, anatomy, {one.name for one in repaired})
    # After the acceptance: a repair is compared with its label, which has the error that all cases share.
    corrected = own = CorrectedCase({}, {}, ())
    image = volume.image if settings.image_edges else None
    with_edges = [
        one.name for one in anatomy.structures
        if one.name in case.maps and one.kind != "tube" and one.image_edges and one.name in (structures or maps)
    ]  # fmt: skip
    if case.correction is not None:
        movable = {name: one for name, one in maps.items() if not structures or name in structures}
        corrected = correct_case(movable, original, roi, anatomy, case.correction, image)
        maps |= corrected.maps
        changes += corrected.changes
    if case.corrects_own_errors and image is not None:
        own = correct_own_errors(maps, image, roi, anatomy, with_edges)
        maps |= own.maps
        changes += own.changes
    chambers = tuple(one.name for one in anatomy.structures if one.kind == "chamber")
    solid = {one.name for one in anatomy.structures if one.kind != "tube"}
    inside = {name: one.inside for name, one in maps.items() if name in solid} if repaired else {}
    lumens = set[str]()  # the vessels whose surface is at its edge already
    for structure in repaired:
        label = corrected.tubes.get(structure.name, original == structure.id)
        calibre = (calibres or {}).get(structure.name, Calibre())
        use = ImageUse(
            follows_lumen=settings.image_edges and structure.image_edges,
            keeps_width=structure.name not in corrected.to_lumen,
            calcium=settings.calcium,
            missing_branches=settings.missing_branches,
        )
        vessel = repair_vessel(structure, label, inside, volume, calibre, chambers, use)
        verdict = check_acceptance(vessel.reference, vessel.mask, structure, spacing)
        if vessel.follows_lumen and verdict.accepted:
            lumens.add(structure.name)
        verdicts.append(verdict)
        maps[structure.name] = DistanceMap.of_mask(vessel.mask if verdict.accepted else label, spacing)
        changes += vessel.changes if verdict.accepted else []
    # In the order of the anatomy, those of `refine` first: of two equally near structures the first one counts.
    maps = {name: maps[name] for name in dict.fromkeys((*case.maps, *anatomy.names))}
    # Where a thin vessel was too wide there is no crack between structures.
    without_tubes = np.arange(256, dtype=np.uint8)
    without_tubes[[one.id for one in tubes]] = BACKGROUND
    without_vessels = without_tubes[cleaned]
    fused = fuse_maps(maps, anatomy, spacing, without_vessels, settings.mode, settings.margin_mm)
    if case.template is not None and image is not None and any(one.action == "moved" for one in own.changes):
        placed = place_contacts(fused, maps, image, case.template, roi, anatomy, with_edges)
        fused, maps = placed.labels, dict(placed.maps)
        changes += placed.changes
    if image is not None:
        reference = cleaned if case.correction is None else fused
        at_edges = [name for name in structures or maps if name not in lumens]
        snapped = snap_case(fused, maps, reference, volume, anatomy, verdicts, at_edges)
        fused, maps, verdicts = snapped.labels, dict(snapped.maps), list(snapped.verdicts)
        changes += snapped.changes
    labels, found = _apply_rules(fused, case, anatomy, maps, structures)
    changes += found
    changes += name_lost_parts(original, labels[box], roi.source_grid(), anatomy, changes)
    judged = RepairedRoi(
        original, cleaned, np.ascontiguousarray(labels[box]), case.maps, maps, spacing, volume.image,
        case.misfits_mm, case.margins_mm, case.prepared.facts.surface_noise_mm2,
    )  # fmt: skip
    uncertainty = judge_case(judged, anatomy, of_voxels=settings.uncertainty)
    log = ChangeLog(case.prepared.case_id, tuple(changes), tuple(verdicts), uncertainty.estimates)
    return FusedCase(labels, log, judged, uncertainty.percent)


def _without_far_components(
    case: RefinedCase, anatomy: Anatomy, structures: tuple[str, ...]
) -> tuple[RefinedCase, list[Change]]:
    """The case without its far components, where they were removed when it was prepared; and the changes before."""
    prepared = case.prepared.facts.changes
    changes = [change for change in prepared if change.rule != far_components.RULE]
    if len(changes) == len(prepared):
        return case, changes
    grid = case.prepared.roi.grid
    original, removed = far_components.without_far_components(case.original, grid, anatomy, structures)
    return replace(case, original=original), removed + changes


def trusted_case(case_id: str, original: Labels, trusted: Labels, grid: Grid) -> FusedCase:
    """Take the trusted label map of a case as its repaired one.

    Args:
        case_id: id of the case.
        original: (x, y, z) uint8, the label map before any repair.
        trusted: (x, y, z) uint8, the trusted label map.
        grid: grid of both.

    Returns:
        The trusted label map, and one entry of the change log.
    """
    changed = original != trusted
    voxels = int(np.count_nonzero(changed))
    if voxels == 0:
        return FusedCase(trusted, ChangeLog(case_id))
    box = bounding_box(changed)
    assert box is not None
    note = "the trusted label map of this case is its result"
    volume_mm3 = round(voxels * grid.voxel_mm3, 2)
    change = Change("trusted", "", "replaced", voxels, volume_mm3, box_in_mm(box, grid), "info", note)
    return FusedCase(trusted, ChangeLog(case_id, (change,)))


def _correction_of(run: RunFolder, case_id: str) -> CaseCorrection | None:
    """The correction of the errors that all cases share, where these were measured."""
    if run.output not in _CORRECTIONS:
        convention = run.convention()
        _CORRECTIONS[run.output] = None if convention is None else (convention.correction, *run.fitted())
    if (found := _CORRECTIONS[run.output]) is None:
        return None
    correction, shape, codes = found
    return CaseCorrection(correction, shape.frame_map(codes.of([case_id])))


def _corrects_by_image(run: RunFolder) -> bool:
    """Whether CTs corrected the errors that all cases share: then labels with another convention are not wanted."""
    shared = run.shared_errors()
    return shared is not None and shared.source == "image" and shared.is_corrected


def _template_of(run: RunFolder, case_id: str) -> CohortTemplate | None:
    """The template of the run, if its contacts are better than those of the label map of this case."""
    shared = run.shared_errors()
    if shared is None or not _corrects_by_image(run) or is_better_than_most(case_id, shared.edge_shares):
        return None
    if run.output not in _TEMPLATES:
        shape, codes = run.fitted()
        x, y, z = (float(size) for size in run.mean_size_mm(codes.ids))
        _TEMPLATES[run.output] = CohortTemplate(shape, (x, y, z)) if isinstance(shape, TemplateShape) else None
    return _TEMPLATES[run.output]


def _accepted_maps(
    case: RefinedCase, anatomy: Anatomy, without: Container[str]
) -> tuple[dict[str, DistanceMap], list[Verdict]]:
    """The refined map of each structure where it is accepted, else that of its prepared label, if not `without` it."""
    cleaned, spacing = case.prepared.cleaned, case.prepared.roi.grid.spacing_mm
    maps, verdicts = dict(case.maps), list[Verdict]()
    for structure in anatomy.structures:
        label, refined = cleaned == structure.id, case.maps.get(structure.name)
        if refined is not None:
            verdict = check_acceptance(label, refined.inside, structure, spacing)
            verdicts.append(verdict)
            if verdict.accepted:
                continue
            label = without_small_components(label)
        if structure.name not in without:
            maps[structure.name] = DistanceMap.of_mask(label, spacing)
    return maps, verdicts


def _apply_rules(
    fused: Labels, case: RefinedCase, anatomy: Anatomy, maps: Mapping[str, DistanceMap], structures: tuple[str, ...]
) -> tuple[Labels, list[Change]]:
    """Apply the rules of anatomy to the fused map (x, y, z) of the ROI; returns the label map of the whole grid.

    The rules do not receive what is outside the ROI: it does not change, and the log must not claim that it did.
    """
    grid, box = case.prepared.roi.grid, case.prepared.roi.source_box()
    wanted = [anatomy.by_name(name).id for name in structures]
    if structures:
        original = case.original[box]
        fused = np.where(np.isin(fused, wanted) | np.isin(original, wanted), fused, original)
    full_volume = np.zeros_like(case.original)
    full_volume[box] = fused
    after_rules, changes = apply_rules(full_volume, grid, anatomy, maps, evidence_box=box)
    if structures:
        changed = np.isin(after_rules, wanted) | np.isin(full_volume, wanted)
        after_rules = np.where(changed, after_rules, full_volume)
    labels = case.original.copy(order="K")
    labels[box] = after_rules[box]
    return labels, changes


@dataclass(frozen=True, eq=False)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    settings: FuseSettings
    structures: tuple[str, ...]
    calibres: dict[str, Calibre]
    fingerprint: str
    trusted: tuple[Cohort, Case] | None = None
    unusual_sizes: tuple[Change, ...] = ()


_CORRECTIONS: dict[Path, tuple[Correction, Any, CodeBook] | None] = {}
"""Correction of each run, with the template and the codes, read once in each process."""
_TEMPLATES: dict[Path, CohortTemplate | None] = {}
"""Template of each run, read once in each process."""


def _work(job: _Job) -> None:
    run, case = RunFolder.at(job.output), job.case
    # A worker of a cluster that was lost since may have done it.
    if run.is_done(FUSE, case.id, job.fingerprint):
        return
    volume = job.cohort.read_labels(case)
    if job.trusted is None:
        fused = fuse_stored_case(run, job.cohort, case, volume, job.settings, job.structures, job.calibres)
    else:
        trusted, own = job.trusted
        fused = trusted_case(case.id, volume.labels, trusted.read_labels(own).on_grid(volume.grid).labels, volume.grid)
    run.forget(FUSE, case.id)
    log, files = _with_unusual_sizes(fused.log, job.unusual_sizes), list[Path]()
    if job.settings.segments:
        values, found = name_case_segments(
            fused.labels, volume.grid, job.cohort.anatomy, _given_names(job, fused, volume)
        )
        log = replace(log, segments=() if found is None else found.records)
        files += run.write_segments(case.id, values, volume.grid)
    else:
        # That of an earlier run would be one of another label map.
        run.segments_path(case.id).unlink(missing_ok=True)
    files += run.write_fused(job.cohort, case, fused.labels, log, volume.unknown)
    if job.settings.uncertainty:
        percent = np.zeros(volume.labels.shape, np.uint8)
        if fused.percent is not None:
            percent[run.roi(case.id).source_box()] = fused.percent
        files += run.write_uncertainty(case.id, percent, volume.grid)
    else:
        run.uncertainty_path(case.id).unlink(missing_ok=True)
    run.finish(FUSE, case.id, job.fingerprint, files)


def _with_unusual_sizes(log: ChangeLog, remarks: tuple[Change, ...]) -> ChangeLog:
    """The log with what is known from the other cases; a structure that is part of another one is not absent."""
    merged = {change.structure for change in log.changes if change.rule == merged_structures.RULE}
    return replace(log, changes=(*log.changes, *(one for one in remarks if one.structure not in merged)))


def _given_names(job: _Job, fused: FusedCase, volume: LabelVolume) -> npt.NDArray[np.integer] | None:
    """The names of segments that the input has, carried over to the repaired map; None where it has none."""
    if volume.meaning is None or not has_segment_names(volume.meaning, job.cohort.anatomy):
        return None
    original = open_label_map(job.case.labels_path, job.case.series_path).read().values
    return restore_values(fused.labels, original, volume.meaning, volume.grid).astype(np.intp)


def fuse_stored_case(
    run: RunFolder, cohort: Cohort, case: Case, volume: LabelVolume, settings: FuseSettings,
    structures: tuple[str, ...] = (), calibres: Mapping[str, Calibre] | None = None,
) -> FusedCase:  # fmt: skip
    """Fuse a case from the records of a run, without writing anything.

    Args:
        run: the run, which has refined the case.
        cohort: how the images of the data set are read.
        case: the case.
        volume: its label map.
        settings: settings of the stage.
        structures: names of the structures that may change; empty: all of them.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The repaired case.
    """
    prepared = run.prepared(case.id)
    image = cohort.read_image(case, prepared.roi.grid) if settings.reads_images else None
    maps = run.distances(case.id)
    refined = RefinedCase(
        volume.labels, prepared, maps, None if image is None else image.values, run.refine_changes(case.id),
        _correction_of(run, case.id), run.label_margins_mm(case.id) if maps else {}, run.misfits_mm(case.id),
        _corrects_by_image(run), _template_of(run, case.id),
    )  # fmt: skip
    return fuse_case(refined, cohort.anatomy, settings, structures, calibres)
