"""Background that is enclosed."""

from __future__ import annotations

import fill_voids
import numpy as np

from heartmend.anatomy.rule_parameters import HolesRule
from heartmend.geometry.boxes import boxes_by_id
from heartmend.geometry.components import Component, find_components
from heartmend.repair.rules.components import surroundings
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.repair.rules.swaps import BULKY
from heartmend.types import BACKGROUND, Labels


def holes(labels: Labels, context: RuleContext, rule: HolesRule) -> Result:
    """Cavities that hold background and crumbs become what encloses them: the cavity of the myocardium holds the LV.

    A small pocket that several structures enclose together goes to the one that makes up most of its wall: a crack
    between two is none. What is open to the border of the volume is no hole.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY):
        if structure.id not in boxes:
            continue
        box = boxes[structure.id]
        mask = labels[box] == structure.id
        for cavity in find_components(fill_voids.fill(mask) & ~mask, box, 6):
            if _holds_crumbs_only(labels, context, cavity):
                labels[cavity.box][cavity.mask] = structure.id
                changes.append(context.change("holes", structure.name, "filled", cavity.box, cavity.voxels))
    for pocket in _pockets(labels) if rule.max_pocket_mm3 else ():
        if pocket.voxels * context.grid.voxel_mm3 > rule.max_pocket_mm3:
            continue
        wall = surroundings(labels, pocket)
        wall[[BACKGROUND, *context.tube_ids]] = 0
        host = int(wall.argmax())
        if wall[host] and wall[host] >= rule.wall_share * wall.sum():
            labels[pocket.box][pocket.mask] = host
            name = context.anatomy.by_id(host).name
            changes.append(context.change("holes", name, "pocket filled", pocket.box, pocket.voxels))
    return labels, changes


def _holds_crumbs_only(labels: Labels, context: RuleContext, cavity: Component) -> bool:
    """Whether all structures in the cavity are crumbs there, and none of them exists in it alone."""
    counts = np.bincount(labels[cavity.box][cavity.mask], minlength=256)
    for id in np.flatnonzero(counts[1:]) + 1:
        structure = context.anatomy.by_id(int(id))
        is_crumb = counts[id] * context.grid.voxel_mm3 < structure.min_mm3 and structure.kind != "tube"
        if not is_crumb or counts[id] == np.count_nonzero(labels == id):
            return False
    return True


def _pockets(labels: Labels) -> list[Component]:
    tissue = labels != BACKGROUND
    return find_components(np.asarray(fill_voids.fill(tissue)) & ~tissue, connectivity=6)
