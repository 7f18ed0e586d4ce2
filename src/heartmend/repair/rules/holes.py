"""Rule `holes`: enclosed background is filled."""

from __future__ import annotations

import fill_voids
import numpy as np

from heartmend.anatomy.rule_parameters import HolesRule
from heartmend.geometry.boxes import boxes_by_id
from heartmend.geometry.components import Component, find_components
from heartmend.repair.rules.context import BULKY_KINDS, Result, RuleContext
from heartmend.repair.rules.neighbours import count_neighbours
from heartmend.types import BACKGROUND, Labels


def holes(labels: Labels, context: RuleContext, rule: HolesRule) -> Result:
    """Fill holes of structures and small pockets between structures.

    A hole is enclosed by one structure and contains background and small components only: the cavity of the
    myocardium contains the LV and is no hole. A pocket is enclosed by several structures. It goes to the structure that
    makes up most of its wall, unless two share the wall, as in a gap between them. Background that is connected to the
    border of the volume is never filled.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid and anatomy.
        rule: parameters.

    Returns:
        The filled label map, and the changes.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY_KINDS):
        if structure.id not in boxes:
            continue
        box = boxes[structure.id]
        mask = labels[box] == structure.id
        for cavity in find_components(fill_voids.fill(mask) & ~mask, box, 6):
            if _contains_small_components_only(labels, context, cavity):
                labels[cavity.box][cavity.mask] = structure.id
                changes.append(context.change("holes", structure.name, "filled", cavity.box, cavity.voxels))
    for pocket in _pockets(labels) if rule.max_pocket_mm3 else ():
        if pocket.voxels * context.grid.voxel_mm3 > rule.max_pocket_mm3:
            continue
        wall = count_neighbours(labels, pocket)
        wall[[BACKGROUND, *context.tube_ids]] = 0
        main = int(wall.argmax())
        if wall[main] and wall[main] >= rule.wall_share * wall.sum():
            labels[pocket.box][pocket.mask] = main
            name, note = context.anatomy.by_id(main).name, "pocket between structures"
            changes.append(context.change("holes", name, "filled", pocket.box, pocket.voxels, note=note))
    return labels, changes


def _contains_small_components_only(labels: Labels, context: RuleContext, cavity: Component) -> bool:
    """Whether every structure in the cavity is a small component of a structure that also exists elsewhere."""
    counts = np.bincount(labels[cavity.box][cavity.mask], minlength=256)
    for id in np.flatnonzero(counts[1:]) + 1:
        structure = context.anatomy.by_id(int(id))
        is_small = counts[id] * context.grid.voxel_mm3 < structure.min_mm3 and structure.kind != "tube"
        if not is_small or counts[id] == np.count_nonzero(labels == id):
            return False
    return True


def _pockets(labels: Labels) -> list[Component]:
    """Components of background that the tissue encloses."""
    tissue = labels != BACKGROUND
    return find_components(np.asarray(fill_voids.fill(tissue)) & ~tissue, connectivity=6)
