"""A remark about hearts with one coronary tree: a rare anatomy, or a label that lacks the other."""

from __future__ import annotations

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.coronaries.segments import Side
from heartmend.coronaries.sides import find_sides
from heartmend.coronaries.surroundings import CoronarySurroundings
from heartmend.geometry.boxes import full_box
from heartmend.geometry.centrelines.tree import CentreTree
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm
from heartmend.types import Labels

RULE = "missing_tree"
"""Name of this method in the change log."""
MIN_TREE_MM = 60.0
"""Shortest length of all vessels together that is judged."""
MAX_SHARE = 0.04
"""A side with a smaller share of the length has no tree; a heart with both has at least a tenth of it on either."""


def name_missing_tree(
    tree: CentreTree, labels: Labels, structure: Structure, anatomy: Anatomy, grid: Grid
) -> list[Change]:
    """Name the side of the heart that has no coronary tree.

    Args:
        tree: centrelines of the label of the coronary arteries, in mm (voxel index times spacing).
        labels: (x, y, z) uint8, the label map.
        structure: the thin vessel.
        anatomy: the structures.
        grid: grid of the label map.

    Returns:
        One remark, or none: also where the aorta, an atrium or a ventricle is missing, so that the sides are unknown.
    """
    total_mm = float(tree.share_mm.sum()) if len(tree) else 0.0
    if structure.name != "Coronary" or total_mm < MIN_TREE_MM:
        return []
    masks = {one.name: labels == one.id for one in anatomy.structures if one.kind != "tube"}
    surroundings = CoronarySurroundings.of(masks, grid)
    if surroundings is None:
        return []
    sides = find_sides(tree, surroundings)
    length_mm = {side: float(tree.share_mm[sides.side == side].sum()) for side in (Side.LEFT, Side.RIGHT)}
    lacking = min(length_mm, key=lambda side: length_mm[side])
    if length_mm[lacking] > MAX_SHARE * total_mm or not sum(length_mm.values()):
        return []
    there = Side.LEFT if lacking is Side.RIGHT else Side.RIGHT
    note = f"one coronary tree, the {there.label} one: unusual anatomy, or the {lacking.label} one was not labelled"
    return [
        Change(RULE, structure.name, ORIGINAL_KEPT, 0, 0.0, box_in_mm(full_box(labels.shape), grid), "review", note)
    ]
