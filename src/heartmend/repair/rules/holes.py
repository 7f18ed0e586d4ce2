"""Background that is enclosed."""

from __future__ import annotations

import fill_voids
import numpy as np

from heartmend.anatomy.rule_parameters import HolesRule
from heartmend.repair.rules.components import Component, boxes_by_id, find_components, surroundings, whole_box
from heartmend.repair.rules.scene import Result, Scene
from heartmend.repair.rules.swaps import BULKY
from heartmend.types import BACKGROUND, Labels


def holes(labels: Labels, scene: Scene, rule: HolesRule) -> Result:
    """Cavities that hold background and crumbs become what encloses them: the cavity of the myocardium holds the LV.

    A small pocket that several structures enclose together goes to the one that makes up most of its wall: a crack
    between two is none. What is open to the border of the volume is no hole.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in scene.chosen(rule.structures, *BULKY):
        if structure.id not in boxes:
            continue
        box = boxes[structure.id]
        mask = labels[box] == structure.id
        for cavity in find_components(fill_voids.fill(mask) & ~mask, box, 6):
            if _holds_crumbs_only(labels, scene, cavity):
                labels[cavity.box][cavity.mask] = structure.id
                changes.append(scene.change("holes", structure.name, "filled", cavity.box, cavity.voxels))
    for pocket in _pockets(labels) if rule.max_pocket_mm3 else ():
        if pocket.voxels * scene.grid.voxel_mm3 > rule.max_pocket_mm3:
            continue
        wall = surroundings(labels, pocket)
        wall[[BACKGROUND, *scene.tube_ids]] = 0
        host = int(wall.argmax())
        if wall[host] and wall[host] >= rule.wall_share * wall.sum():
            labels[pocket.box][pocket.mask] = host
            name = scene.anatomy.by_id(host).name
            changes.append(scene.change("holes", name, "pocket filled", pocket.box, pocket.voxels))
    return labels, changes


def _holds_crumbs_only(labels: Labels, scene: Scene, cavity: Component) -> bool:
    """Whether all structures in the cavity are crumbs there, and none of them exists in it alone."""
    counts = np.bincount(labels[cavity.box][cavity.mask], minlength=256)
    for id in np.flatnonzero(counts[1:]) + 1:
        structure = scene.anatomy.by_id(int(id))
        is_crumb = counts[id] * scene.grid.voxel_mm3 < structure.min_mm3 and structure.kind != "tube"
        if not is_crumb or counts[id] == np.count_nonzero(labels == id):
            return False
    return True


def _pockets(labels: Labels) -> list[Component]:
    tissue = labels != BACKGROUND
    return find_components(np.asarray(fill_voids.fill(tissue)) & ~tissue, whole_box(labels.shape), 6)
