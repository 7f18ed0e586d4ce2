"""Repair of a thin vessel of a case: its tree is repaired, its width is matched to the cohort, changes are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Structure
from heartmend.geometry.distance import signed_distance_mm
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import Change, Corner, Severity, box_in_mm
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.tree_repair import TreeRepair, repair_tree
from heartmend.types import Mask

MIN_EXCESS_MM = 0.1
"""Smallest difference from the cohort's radius that is listed as a change."""


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
    structure: Structure, label: Mask, inside: Mapping[str, Mask], volume: CaseVolume, calibre: Calibre
) -> RepairedVessel:
    """Repair a thin vessel in the ROI of a case.

    Args:
        structure: the vessel.
        label: (x, y, z) bool in the ROI, its original mask.
        inside: (x, y, z) bool in the ROI, masks of the bulky structures by name, the vessel's root among them.
        volume: the ROI; with an image, bridges follow the bright lumen.
        calibre: radii of the cohort's trees.

    Returns:
        The repaired mask and the changes.
    """
    grid, spacing = volume.grid, volume.grid.spacing_mm
    heart = np.logical_or.reduce(list(inside.values())) if inside else None
    root = inside.get(structure.root) if structure.root else None
    settings = TreeSettings(calibre=calibre)
    result = repair_tree(label, spacing, aorta=root, heart=heart, image=volume.image, settings=settings)
    changes = _tree_changes(structure.name, result, volume)
    reference = label
    if abs(result.excess_mm) > MIN_EXCESS_MM:
        reference = signed_distance_mm(label, spacing) > result.excess_mm
        voxels = int(label.sum()) - int(reference.sum())
        action, comparison = ("narrowed", "larger") if result.excess_mm > 0 else ("widened", "smaller")
        note = (
            f"mean radius {abs(result.excess_mm):.2f} mm {comparison} than expected; "
            f"the cohort's mean is {calibre.mean_mm:.2f} mm"
        )
        mm3, box_mm = round(voxels * grid.voxel_mm3, 2), box_in_mm(volume.box, grid)
        changes.append(Change("calibre", structure.name, action, voxels, mm3, box_mm, "review", note))
    return RepairedVessel(result.mask, reference, tuple(changes))


def _tree_changes(name: str, result: TreeRepair, volume: CaseVolume) -> list[Change]:
    """List every bridge, removed component and pruned spur, with boxes in mm of the label map."""
    grid = volume.grid
    start = np.array([side.start for side in volume.box])
    changes = list[Change]()
    severity: Severity
    for action, severity, parts in (
        ("bridged", "review", [(b.box, 0.0, f"gap of {b.length_mm:.0f} mm") for b in result.bridges]),
        ("removed", "info", [(r.box, r.mm3, "too short or too far from the heart") for r in result.removed]),
        ("pruned", "info", [(r.box, r.mm3, "spur") for r in result.spurs]),
    ):
        for corners, mm3, note in parts:
            ends = grid.index_to_world(np.asarray(corners) / grid.spacing_mm + start)
            low, high = (_corner(edge) for edge in (ends.min(axis=0), ends.max(axis=0)))
            voxels = round(mm3 / grid.voxel_mm3)
            changes.append(Change("tree", name, action, voxels, round(mm3, 2), (low, high), severity, note))
    return changes


def _corner(edge: np.ndarray) -> Corner:
    x, y, z = (round(float(v), 2) for v in edge)
    return x, y, z
