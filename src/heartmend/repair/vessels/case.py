"""Repair of a thin vessel of a case: its tree is repaired, its width is matched to the cohort, changes are listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Structure
from heartmend.coronaries.surroundings import AORTA, CoronarySurroundings
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import ORIGINAL_KEPT, Change, Corner, Severity, box_in_mm
from heartmend.repair.vessels.bridge import BoxMm
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
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
) -> RepairedVessel:
    """Repair a thin vessel in the ROI of a case.

    Args:
        structure: the vessel.
        label: (x, y, z) bool in the ROI, its original mask.
        inside: (x, y, z) bool in the ROI, masks of the bulky structures by name, the vessel's root among them.
        volume: the ROI; with an image, bridges follow the bright lumen.
        calibre: radii of the cohort's trees.
        chambers: names of the structures in `inside` that are blood pools, in which no vessel runs.

    Returns:
        The repaired mask and the changes.
    """
    grid, spacing = volume.grid, volume.grid.spacing_mm
    heart = np.logical_or.reduce(list(inside.values())) if inside else None
    root = inside.get(structure.root) if structure.root else None
    settings = TreeSettings(calibre=calibre)
    pools = [inside[name] for name in chambers if name in inside]
    blood = np.logical_or.reduce(pools) if pools else None
    surroundings = CoronarySurroundings.of(inside, grid) if structure.root == AORTA else None
    result = repair_tree(
        label, spacing, aorta=root, heart=heart, chambers=blood, image=volume.image, surroundings=surroundings,
        settings=settings,
    )  # fmt: skip
    changes = _tree_changes(structure.name, result, volume)
    # Each removed component had its own verdict; the remaining vessels are accepted or rejected without it.
    listed = int(result.dropped.sum()) <= (1 - structure.max_volume_change[0]) * int(label.sum())
    reference = label & ~result.dropped if listed else label
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
    return RepairedVessel(result.mask, reference, tuple(changes))


def _tree_changes(name: str, result: TreeRepair, volume: CaseVolume) -> list[Change]:
    """List bridges, removed components, remarks and smoothed surfaces, with boxes in mm of the label map."""
    grid = volume.grid
    start = np.array([side.start for side in volume.box])
    changes = list[Change]()

    def add(action: str, severity: Severity, corners: BoxMm, mm3: float, note: str) -> None:
        ends = grid.index_to_world(np.asarray(corners) / grid.spacing_mm + start)
        low, high = (_corner(edge) for edge in (ends.min(axis=0), ends.max(axis=0)))
        voxels = round(mm3 / grid.voxel_mm3)
        changes.append(Change("tree", name, action, voxels, round(mm3, 2), (low, high), severity, note))

    for bridge in result.bridges:
        add("bridged", "review", bridge.box, 0.0, f"gap of {bridge.length_mm:.0f} mm")
    for part in result.removed:
        severity: Severity = "review" if part.length_mm >= REVIEW_MM else "info"
        add("removed", severity, part.box, part.mm3, f"{part.length_mm:.0f} mm long, {part.reason}")
    for part in result.remarks:
        note = f"{part.length_mm:.0f} mm long, {part.mm3:.0f} mm³, {part.reason}"
        add(ORIGINAL_KEPT, "warning", part.box, 0.0, note)
    if (voxels := int(result.smoothed.sum())) and (box := bounding_box(result.smoothed)):
        corners = np.array([[s.start - 0.5 for s in box], [s.stop - 0.5 for s in box]]) * grid.spacing_mm
        low, high = corners.tolist()
        mm3 = voxels * grid.voxel_mm3
        add("smoothed", "info", (tuple(low), tuple(high)), mm3, "noise of single voxels on the surface")
    return changes


def _corner(edge: np.ndarray) -> Corner:
    x, y, z = (round(float(v), 2) for v in edge)
    return x, y, z
