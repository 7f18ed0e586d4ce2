"""Repair of a thin vessel of a case: its tree is repaired, its width is matched to the cohort, changes are listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Structure
from heartmend.coronaries.surroundings import AORTA, CoronarySurroundings
from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import ORIGINAL_KEPT, Change, Corner, Severity, box_in_mm
from heartmend.repair.vessels.branch_acceptance import judge_branches
from heartmend.repair.vessels.bridge import BoxMm
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
from heartmend.repair.vessels.verdicts import VesselPart, box_of_voxels
from heartmend.types import Mask

MIN_EXCESS_MM = 0.1
"""Smallest difference from the cohort's radius that is listed as a change."""
REVIEW_MM = 10.0
"""Removed components of this length need a review."""


@dataclass(frozen=True, eq=False)
class RepairedVessel:
    """Thin vessel after its tree was repaired.

    Attributes:
        mask: (x, y, z) bool, the repaired mask.
        reference: (x, y, z) bool, the label narrowed or widened to the cohort's radius, with which the repaired mask
            is compared for its acceptance.
        changes: what was changed.
    """

    mask: Mask
    reference: Mask
    changes: tuple[Change, ...]


def repair_vessel(
    structure: Structure,
    label: Mask,
    inside: Mapping[str, Mask],
    volume: CaseVolume,
    calibre: Calibre,
    chambers: Collection[str] = (),
    missing_branches: bool = False,
) -> RepairedVessel:
    """Repair a thin vessel in the ROI of a case.

    Args:
        structure: the vessel.
        label: (x, y, z) bool in the ROI, its original mask.
        inside: (x, y, z) bool in the ROI, masks of the bulky structures by name, the vessel's root among them.
        volume: the ROI; with an image, bridges follow the bright lumen.
        calibre: radii of the cohort's trees.
        chambers: names of the structures in `inside` that are blood pools, in which no vessel runs.
        missing_branches: whether branches that the label lacks are added where the image shows them.

    Returns:
        The repaired mask and the changes.
    """
    grid, spacing = volume.grid, volume.grid.spacing_mm
    heart = np.logical_or.reduce(list(inside.values())) if inside else None
    root = inside.get(structure.root) if structure.root else None
    settings = TreeSettings(
        calibre=calibre, max_removed_share=1 - structure.max_volume_change[0], missing_branches=missing_branches
    )
    pools = [inside[name] for name in chambers if name in inside]
    blood = np.logical_or.reduce(pools) if pools else None
    surroundings = CoronarySurroundings.of(inside, grid) if structure.root == AORTA else None
    result = repair_tree(
        label, spacing, aorta=root, heart=heart, chambers=blood, image=volume.image, surroundings=surroundings,
        settings=settings,
    )  # fmt: skip
    changes = _tree_changes(structure.name, result, volume)
    # What was removed and bridged has verdicts of its own; the remaining vessels are judged without it.
    kept = label & ~result.dropped
    reference = kept
    if abs(result.excess_mm) > MIN_EXCESS_MM:
        before = int(reference.sum())
        reference = signed_distance_mm(reference, spacing) > result.excess_mm
        voxels = abs(before - int(reference.sum()))
        action, comparison = ("narrowed", "larger") if result.excess_mm > 0 else ("widened", "smaller")
        note = (
            f"mean radius {abs(result.excess_mm):.2f} mm {comparison} than expected; "
            f"the cohort's mean is {calibre.mean_mm:.2f} mm"
        )
        mm3, box_mm = round(voxels * grid.voxel_mm3, 2), box_in_mm(volume.box, grid)
        changes.append(Change("calibre", structure.name, action, voxels, mm3, box_mm, "review", note))
    tree = CentreTree.from_networkx(result.graph)
    judged = judge_branches(tree, result.mask, reference, kept, structure, spacing)
    changes += [_remark(structure.name, "review", part, volume) for part in judged.rejected]
    reference = judged.reference
    if int(result.bridged.sum()) <= (structure.max_volume_change[1] - 1) * int(label.sum()):
        reference = reference | result.bridged
    mask = judged.mask
    if (branches := result.branches) is not None:
        mask, reference = mask | branches.mask, reference | branches.mask
        for part in branches.parts:
            note = f"{part.length_mm:.0f} mm long, {part.reason}"
            changes.append(_change(structure.name, "extended", "review", (part.box, part.mm3), note, volume))
    return RepairedVessel(mask, reference, tuple(changes))


def _tree_changes(name: str, result: TreeRepair, volume: CaseVolume) -> list[Change]:
    """List bridges, removed components, remarks and smoothed surfaces, with boxes in mm of the label map."""
    changes = []
    for bridge in result.bridges:
        note = f"gap of {bridge.length_mm:.0f} mm"
        changes.append(_change(name, "bridged", "review", (bridge.box, bridge.mm3), note, volume))
    for part in result.removed:
        severity: Severity = "review" if part.length_mm >= REVIEW_MM else "info"
        note = f"{part.length_mm:.0f} mm long, {part.reason}"
        changes.append(_change(name, "removed", severity, (part.box, part.mm3), note, volume))
    if (specks := result.specks) is not None:
        changes.append(_change(name, "removed", "info", (specks.box, specks.mm3), specks.reason, volume))
    changes += [_remark(name, "warning", part, volume) for part in result.remarks]
    spacing = volume.grid.spacing_mm
    if (box := box_of_voxels(result.smoothed, spacing)) is not None:
        mm3 = int(result.smoothed.sum()) * volume.grid.voxel_mm3
        changes.append(_change(name, "smoothed", "info", (box, mm3), "noise of the surface", volume))
    return changes


def _remark(name: str, severity: Severity, part: VesselPart, volume: CaseVolume) -> Change:
    """Describe a part of a vessel that was kept."""
    note = f"{part.length_mm:.0f} mm long, {part.mm3:.0f} mm³, {part.reason}"
    return _change(name, ORIGINAL_KEPT, severity, (part.box, 0.0), note, volume)


def _change(
    name: str, action: str, severity: Severity, place: tuple[BoxMm, float], note: str, volume: CaseVolume
) -> Change:
    """Describe a change by its box in mm on the voxel axes of the ROI, and its volume in mm³."""
    grid, (box, mm3) = volume.grid, place
    start = np.array([side.start for side in volume.box])
    corners = np.array(list(product(*zip(*box, strict=True))))
    ends = grid.index_to_world(corners / grid.spacing_mm + start)
    low, high = (_corner(edge) for edge in (ends.min(axis=0), ends.max(axis=0)))
    return Change("tree", name, action, round(mm3 / grid.voxel_mm3), round(mm3, 2), (low, high), severity, note)


def _corner(edge: np.ndarray) -> Corner:
    x, y, z = (round(float(v), 2) for v in edge)
    return x, y, z
