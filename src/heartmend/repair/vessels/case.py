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
from heartmend.repair.vessels.lumen_surface import LumenSurface, move_to_lumen
from heartmend.repair.vessels.settings import ImageUse, TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
from heartmend.repair.vessels.verdicts import VesselPart, box_of_voxels
from heartmend.types import Mask

MIN_EXCESS_MM = 0.1
"""Smallest difference from the cohort's radius that is listed as a change."""
REVIEW_MM = 10.0
"""Removed components of this length, and as much vessel with another width, need a review."""
NOTED_MM = 0.3
"""A radius that changes by more is noted."""
LEAST_LEFT = 0.2
"""Least share of a vessel that is left, and by which it grows, when its surface moves to the lumen."""


@dataclass(frozen=True, eq=False)
class RepairedVessel:
    """Thin vessel after its tree was repaired.

    Attributes:
        mask: (x, y, z) bool, the repaired mask.
        reference: (x, y, z) bool, the label narrowed or widened to the cohort's radius, with which the repaired mask
            is compared for its acceptance.
        changes: what was changed.
        follows_lumen: whether the surface is that of the lumen in the CT.
    """

    mask: Mask
    reference: Mask
    changes: tuple[Change, ...]
    follows_lumen: bool = False


def repair_vessel(
    structure: Structure,
    label: Mask,
    inside: Mapping[str, Mask],
    volume: CaseVolume,
    calibre: Calibre,
    chambers: Collection[str] = (),
    image_use: ImageUse | None = None,
) -> RepairedVessel:
    """Repair a thin vessel in the ROI of a case.

    Args:
        structure: the vessel.
        label: (x, y, z) bool in the ROI, its original mask.
        inside: (x, y, z) bool in the ROI, masks of the bulky structures by name, the vessel's root among them.
        volume: the ROI; with an image, bridges follow the bright lumen.
        calibre: radii of the cohort's trees.
        chambers: names of the structures in `inside` that are blood pools, in which no vessel runs.
        image_use: what the image is used for; None for the defaults.

    Returns:
        The repaired mask and the changes.
    """
    grid, spacing, use = volume.grid, volume.grid.spacing_mm, image_use or ImageUse()
    heart = np.logical_or.reduce(list(inside.values())) if inside else None
    root = inside.get(structure.root) if structure.root else None
    settings = TreeSettings(
        calibre=calibre, max_removed_share=1 - structure.max_volume_change[0], missing_branches=use.missing_branches
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
    mask, follows_lumen = judged.mask, False
    if use.follows_lumen and volume.image is not None:
        filled = [one for one in (blood, root) if one is not None]
        others = np.logical_or.reduce(filled) if filled else np.zeros_like(mask)
        surface = move_to_lumen(
            mask, tree, others, volume.image, spacing, keeps_width=use.keeps_width, calcium=use.calcium
        )
        if surface is not None and _is_plausible(surface.mask, mask):
            follows_lumen = True
            changes += _lumen_changes(structure.name, surface, mask, tree, volume)
            # The CT is the evidence for these voxels, not the label.
            reference = np.where(surface.mask ^ mask, surface.mask, reference)
            mask = surface.mask
    if (branches := result.branches) is not None:
        mask, reference = mask | branches.mask, reference | branches.mask
        for part in branches.parts:
            note = f"{part.length_mm:.0f} mm long, {part.reason}"
            changes.append(_change(structure.name, "extended", "review", (part.box, part.mm3), note, volume))
    return RepairedVessel(mask, reference, tuple(changes), follows_lumen)


def _is_plausible(moved: Mask, mask: Mask) -> bool:
    before, after = (int(np.count_nonzero(one)) for one in (mask, moved))
    return LEAST_LEFT * before <= after <= before / LEAST_LEFT


def _lumen_changes(name: str, surface: LumenSurface, mask: Mask, tree: CentreTree, volume: CaseVolume) -> list[Change]:
    """List how the surface moved to the lumen."""
    spacing = volume.grid.spacing_mm
    box = box_of_voxels(surface.mask ^ mask, spacing)
    if box is None:
        return []
    narrower, wider = (float(tree.share_mm[part].sum()) for part in
                       (surface.offset_mm < -NOTED_MM, surface.offset_mm > NOTED_MM))  # fmt: skip
    severity: Severity = "review" if max(narrower, wider) >= REVIEW_MM else "info"
    note = (
        f"surface moved to the lumen in the CT: {narrower:.0f} mm of vessel narrower and {wider:.0f} mm wider by more "
        f"than {NOTED_MM:g} mm of radius"
    )
    mm3 = int(np.count_nonzero(surface.mask ^ mask)) * volume.grid.voxel_mm3
    return [_change(name, "moved", severity, (box, mm3), note, volume)]


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
