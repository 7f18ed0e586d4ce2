"""Acceptance of a repaired vessel branch by branch: one branch that changed too much costs nothing of the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.anatomy.schema import Structure
from heartmend.geometry.centrelines.rooted_lines import RootedLines
from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing, voxel_points
from heartmend.repair.vessels.verdicts import VesselPart, box_of_points
from heartmend.types import Mask


@dataclass(frozen=True, eq=False)
class JudgedBranches:
    """Vessel whose branches were judged one by one.

    Attributes:
        mask: (x, y, z) bool, with the original voxels of the rejected branches.
        reference: (x, y, z) bool, with which the mask is compared as a whole; the same there.
        rejected: the rejected branches.
    """

    mask: Mask
    reference: Mask
    rejected: tuple[VesselPart, ...] = ()


def judge_branches(
    tree: CentreTree, mask: Mask, reference: Mask, label: Mask, structure: Structure, spacing_mm: Spacing
) -> JudgedBranches:
    """Judge each branch of a repaired vessel by the limits of volume that the anatomy has for the whole.

    A branch reaches from a division, a gap or an end to the next one. Bridges are no branches: they have no original.

    Args:
        tree: centrelines of the repaired vessel.
        mask: (x, y, z) bool, the repaired mask.
        reference: (x, y, z) bool, what the mask is compared with.
        label: (x, y, z) bool, the original voxels that a rejected branch gets back.
        structure: the vessel, with its limits `max_volume_change` and `min_mm3`.
        spacing_mm: voxel spacing.

    Returns:
        The mask, the reference and the rejected branches.
    """
    if not len(tree) or not (mask ^ reference).any():
        return JudgedBranches(mask, reference)
    branch = branches_of(tree)
    nearest = cKDTree(tree.points_mm)

    def owners(part: Mask) -> IntArray:
        return np.asarray(branch[nearest.query(voxel_points(part, spacing_mm))[1]], np.intp)

    count = int(branch.max()) + 1
    before, after = (np.bincount(owners(part), minlength=count) for part in (reference, mask))
    is_bridge = np.zeros(count, bool)
    is_bridge[branch[tree.bridge >= 0]] = True
    voxel_mm3 = float(np.prod(spacing_mm))
    low, high = structure.max_volume_change
    is_judged = ~is_bridge & (before * voxel_mm3 >= structure.min_mm3)
    ratio = after / np.maximum(before, 1)
    rejected = np.flatnonzero(is_judged & ((ratio < low) | (ratio > high)))
    if not len(rejected):
        return JudgedBranches(mask, reference)
    mask, reference = mask.copy(), reference.copy()
    for part, values in ((mask, False), (reference, False), (label, True)):
        own = np.zeros(mask.shape, bool)
        own[part] = np.isin(owners(part), rejected)
        mask[own] = reference[own] = values
    found = []
    for number in rejected.tolist():
        points = branch == number
        reason = f"its volume would be {ratio[number]:.2f} of the original, outside {low:g} to {high:g}"
        mm3, length_mm = float(before[number]) * voxel_mm3, float(tree.share_mm[points].sum())
        found.append(VesselPart(box_of_points(tree, points), mm3, length_mm, reason))
    return JudgedBranches(mask, reference, tuple(found))


def branches_of(tree: CentreTree) -> IntArray:
    """Number the branches of a forest.

    Args:
        tree: the forest.

    Returns:
        (n,) number of the branch of each point. A bridge is a branch of its own.

    Example:
        >>> from heartmend.geometry.centrelines.tree import chain
        >>> branches_of(chain(np.arange(9.0).reshape(3, 3), np.ones(3))).tolist()
        [0, 0, 0]
    """
    indices = np.arange(len(tree), dtype=np.float64)
    lines = RootedLines.of(tree, np.stack([indices] * 3, axis=1), np.zeros(0, np.intp), tree.bridge + 1)
    place = lines.points_mm[:, 0].astype(np.intp)
    branch = np.full(len(tree), -1, np.intp)
    found = lines.lines()
    for number, line in enumerate(found):
        own = place[line]
        branch[own[1:]] = number
        if branch[own[0]] < 0:
            branch[own[0]] = number
    alone = np.flatnonzero(branch < 0)
    branch[alone] = len(found) + np.arange(len(alone))
    return branch
