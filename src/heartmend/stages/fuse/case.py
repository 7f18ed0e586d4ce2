"""Fusion of one case, in memory.

Each refined structure is accepted or rejected beside its original, errors that all cases share and those of the case
are corrected, thin vessels are repaired as trees, all structures are fused by evidence and priority, boundaries move to
the edges of the CT, and the rules of anatomy are applied. The result is on the grid of the input; outside the region of
interest only far components are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.repair import far_components
from heartmend.repair.acceptance import Verdict, check_acceptance
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change, box_in_mm
from heartmend.repair.fusion import fuse as fuse_maps
from heartmend.repair.image_edges.case import RULE as EDGES_RULE
from heartmend.repair.image_edges.case import half_level_case, snap_case
from heartmend.repair.lost_parts import name_lost_parts
from heartmend.repair.placed_shape import replace_by_placed
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.uncertainty.case import judge_case
from heartmend.repair.uncertainty.evidence import RepairedRoi
from heartmend.repair.vessels.case import repair_vessel
from heartmend.repair.vessels.settings import ImageUse
from heartmend.stages.fuse.corrected import RefinedCase, correct_maps
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.types import BACKGROUND, Labels


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
    corrected = correct_maps(case, anatomy, settings, structures, {one.name for one in repaired})
    maps, verdicts = dict(corrected.maps), list(corrected.verdicts)
    changes += corrected.changes
    image = volume.image if settings.image_edges else None
    if case.template is not None and image is not None and corrected.has_own_errors:
        placed = replace_by_placed(maps, image, case.template, roi, anatomy, corrected.at_edges, corrected.before_own)
        maps |= placed.maps
        changes += placed.changes
        verdicts = [
            _placed_verdict(one, maps, cleaned, anatomy, spacing) if one.structure in placed.replaced else one
            for one in verdicts
        ]
    chambers = tuple(one.name for one in anatomy.structures if one.kind == "chamber")
    solid = {one.name for one in anatomy.structures if one.kind != "tube"}
    inside = {name: one.inside for name, one in maps.items() if name in solid} if repaired else {}
    lumens = set[str]()  # the vessels whose surface is at its edge already
    for structure in repaired:
        label = corrected.shared.tubes.get(structure.name, original == structure.id)
        calibre = (calibres or {}).get(structure.name, Calibre())
        use = ImageUse(
            follows_lumen=settings.image_edges and structure.image_edges,
            keeps_width=structure.name not in corrected.shared.to_lumen,
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
    if image is not None:
        reference = cleaned if case.correction is None else fused
        at_edges = [name for name in structures or maps if name not in lumens | corrected.dark]
        snapped = snap_case(fused, maps, reference, volume, anatomy, verdicts, at_edges)
        fused, maps, verdicts = snapped.labels, dict(snapped.maps), list(snapped.verdicts)
        changes += snapped.changes
        changes += [_without_edge(name, volume) for name in sorted(corrected.dark)]
        if corrected.has_own_errors:
            halved = half_level_case(fused, maps, volume, anatomy, corrected.at_edges)
            fused, maps = halved.labels, dict(halved.maps)
            changes += halved.changes
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


def _without_edge(structure: str, volume: CaseVolume) -> Change:
    """The remark that a surface is not seen in the CT."""
    note = "as dark as the muscle in the CT, which shows the outside of its wall: the surface follows the labels alone"
    return Change(EDGES_RULE, structure, "not moved", 0, 0.0, box_in_mm(volume.box, volume.grid), "info", note)


def _placed_verdict(
    verdict: Verdict, maps: Mapping[str, DistanceMap], cleaned: Labels, anatomy: Anatomy,
    spacing_mm: tuple[float, float, float],
) -> Verdict:  # fmt: skip
    """The verdict on a structure that was replaced: with its own figures, and within no limits of a repair."""
    structure = anatomy.by_name(verdict.structure)
    found = check_acceptance(cleaned == structure.id, maps[structure.name].inside, structure, spacing_mm)
    return found.without_limits()


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
