"""Branches that a label misses, found in the CT: the bright lumen is followed from the labelled vessels outwards.

Voxels as bright as the lumen that are no other structure are divided into components. One that is a thin tube, as wide
as a branch may be, and that ends at a labelled vessel is proposed as a branch. Veins, chambers and bone are wider,
darker, run beside a vessel, or touch none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import Box, bounding_box_mm
from heartmend.geometry.centrelines.measurement import CentrelineSettings, measure_tree
from heartmend.geometry.centrelines.tree import CentreTree, Spacing, chain, voxel_points
from heartmend.geometry.centrelines.tube import tube_sdf
from heartmend.geometry.components import label_components
from heartmend.geometry.masks import grow_mask
from heartmend.repair.vessels.brightness import DARK, contrast_of_points
from heartmend.repair.vessels.verdicts import VesselPart, box_of_points
from heartmend.repair.vessels.vessel_context import Lumen
from heartmend.types import FloatArray, Mask

REACH_MM = 60.0
"""A branch is searched so far from the label."""
SHORTEST_MM = 8.0
"""Shorter components are noise, or the rim of a label that is too thin."""
_SMOOTHING_MM = 0.35
_RIM_MM = 1.0
"""The blurred wall of a labelled vessel reaches so far; at least a voxel."""
_CONTACT_MM = 2.5
"""A branch begins within this distance of the label's surface."""
_OTHERS_MM = 1.5
"""The blurred border of another structure reaches so far."""
_LEVEL, _ABOVE_WALL = 0.45, 0.3
"""A lumen is brighter than these shares of the way from its surroundings, and from muscle, to the vessels."""
_WIDEST = 1.1
"""Radius of a branch as a share of that of its vessel."""
_SLENDER = 4.0
"""Least length of a branch as a multiple of its radius."""
_BESIDE = 0.3
"""Largest share of a branch that runs beside a labelled vessel."""


@dataclass(frozen=True, eq=False)
class FoundBranches:
    """Branches that were found beyond a label.

    Attributes:
        mask: (x, y, z) bool, their voxels, with the way to the label.
        parts: a description of each.
    """

    mask: Mask
    parts: tuple[VesselPart, ...]


def find_missing_branches(
    label: Mask, tree: CentreTree, others: Mask, lumen: Lumen, spacing_mm: Spacing, wall: Mask | None = None
) -> FoundBranches:
    """Find branches that a vessel label misses.

    Args:
        label: (x, y, z) bool, the repaired label.
        tree: its centreline and radius.
        others: (x, y, z) bool, all other structures.
        lumen: the CT with the levels of the vessels and of their surroundings.
        spacing_mm: voxel spacing.
        wall: (x, y, z) bool, the heart's muscle, which is brighter than fat; None where it is unknown.

    Returns:
        The branches.
    """
    found = np.zeros(label.shape, bool)
    if not len(tree):
        return FoundBranches(found, ())
    window = bounding_box_mm(label, REACH_MM, spacing_mm)
    part, origin = label[window], np.array([side.start for side in window]) * spacing_mm
    image = gaussian_filter(lumen.image.values[window], [_SMOOTHING_MM / step for step in spacing_mm])
    rim_mm = max(_RIM_MM, 1.01 * max(spacing_mm))
    free = ~grow_mask(part, rim_mm, spacing_mm) & ~grow_mask(others[window], _OTHERS_MM, spacing_mm)
    bright = free & (image > _level(image, wall, window, lumen))
    components, sizes = label_components(bright)
    own = tree.with_points(tree.points_mm - origin)
    usual = float(np.median(contrast_of_points(tree, lumen)))
    parts = []
    for number in np.flatnonzero(sizes * float(np.prod(spacing_mm)) >= CentrelineSettings().speck_mm3).tolist():
        component = components == number
        branch = measure_tree(component, spacing_mm)
        link = _link(branch, own, voxel_points(part, spacing_mm), rim_mm)
        if link is None or _is_dark(branch.with_points(branch.points_mm + origin), lumen, usual):
            continue
        # The wall of a vessel this thin is at half of its own height.
        half = (float(np.median(image[component])) + lumen.outside) / 2
        component |= grow_mask(component, rim_mm, spacing_mm) & (image > half)
        near = grow_mask(component, _CONTACT_MM + rim_mm + max(spacing_mm), spacing_mm)
        component[near] |= tube_sdf(link, voxel_points(near, spacing_mm)) < 0
        new = component & ~part & ~others[window]
        found[window] |= new
        mm3, length_mm = float(new.sum() * np.prod(spacing_mm)), float(branch.component_mm.sum())
        box = box_of_points(branch.with_points(branch.points_mm + origin), np.ones(len(branch), bool))
        parts.append(VesselPart(box, mm3, length_mm, "a branch that the label lacks, by the CT"))
    return FoundBranches(found, tuple(parts))


def _link(branch: CentreTree, tree: CentreTree, voxels_mm: FloatArray, rim_mm: float) -> CentreTree | None:
    """The way from a branch to the label; None for what is no branch of it."""
    length_mm = float(branch.component_mm.sum())
    if length_mm < SHORTEST_MM:
        return None
    radius_mm = float(np.average(branch.radius_mm, weights=np.maximum(branch.share_mm, 1e-6)))
    away_mm, nearest = cKDTree(voxels_mm).query(branch.points_mm)
    first = int(np.argmin(away_mm))
    parent_mm = float(tree.radius_mm[cKDTree(tree.points_mm).query(branch.points_mm[first])[1]])
    is_apart = away_mm.min() > rim_mm + _CONTACT_MM
    is_beside = np.mean(away_mm <= rim_mm + _CONTACT_MM) * length_mm > max(_BESIDE * length_mm, 2 * _CONTACT_MM)
    if is_apart or is_beside or radius_mm > _WIDEST * parent_mm or length_mm < _SLENDER * radius_mm:
        return None
    way = np.linspace(branch.points_mm[first], voxels_mm[nearest[first]], 8)
    return chain(way, np.full(8, radius_mm))


def _is_dark(branch: CentreTree, lumen: Lumen, usual: float) -> bool:
    return float(np.median(contrast_of_points(branch, lumen))) < DARK * usual


def _level(image: FloatArray, wall: Mask | None, window: Box, lumen: Lumen) -> float:
    """Least intensity of a lumen."""
    level = lumen.outside + _LEVEL * (lumen.inside - lumen.outside)
    if wall is not None and wall[window].any():
        muscle = float(np.median(image[wall[window]]))
        level = max(level, muscle + _ABOVE_WALL * (lumen.inside - muscle))
    return level
