"""Voxels and patches that are called by the name of another structure."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
from scipy.ndimage import binary_propagation

from heartmend.anatomy.rule_parameters import SpeckleRule, SwapsRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import Box, bounding_box, boxes_by_id, expand_box, margin_voxels, nested_box
from heartmend.geometry.components import Component, components_of, find_components, label_components
from heartmend.repair.changes import Change, Severity
from heartmend.repair.rules.components import EVERY_NEIGHBOUR, surroundings
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.types import BACKGROUND, Labels

# A patch may have this share of its own structure in its surroundings: the neck that it hangs on.
MAX_OWN = 0.2
BULKY = ("chamber", "wall", "vessel", "appendage")


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a structure that may be another's. `share`: of the structure's largest piece."""

    component: Component
    share: float
    surrounded: float
    how: str


def speckle(labels: Labels, context: RuleContext, rule: SpeckleRule) -> Result:
    """Specks of at most `max_voxels`, of a structure or of background, take what most of their 26 neighbours are.

    A thin vessel may run from corner to corner, so its specks are those that touch no more of it, not even so.
    """
    by_faces, sizes = label_components(labels.astype(np.uint16) + 1, connectivity=6)
    tubes = np.isin(labels, context.tube_ids)
    speck = (sizes <= rule.max_voxels)[by_faces] & ~tubes
    if tubes.any():
        vessels, sizes = label_components(tubes)
        speck |= tubes & (sizes <= rule.max_voxels)[vessels]
    if rule.structures:
        speck &= np.isin(labels, [context.anatomy.by_name(n).id for n in rule.structures])
    at = np.argwhere(speck)
    if not len(at):
        return labels, []
    votes = _votes(labels, speck, at)
    was = labels[speck]
    votes[np.ix_(was == BACKGROUND, list(context.tube_ids))] = 0
    # A crack between two structures is no salt.
    clear = votes.max(axis=1) >= np.where(was == BACKGROUND, rule.clear_share, 0) * votes.sum(axis=1)
    winner = np.where(clear & votes.any(axis=1), votes.argmax(axis=1), was).astype(np.uint8)
    labels = labels.copy()
    labels[speck] = winner
    changes = []
    for id in np.unique(was[was != winner]):
        mine = at[(was == id) & (was != winner)]
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(mine.min(axis=0), mine.max(axis=0), strict=True))
        name = context.anatomy.by_id(int(id)).name if id else "background"
        changes.append(context.change("speckle", name, "moved to the neighbours", _three(box), len(mine)))
    return labels, changes


def swaps(labels: Labels, context: RuleContext, rule: SwapsRule) -> Result:
    """Patches that are severed from their structure, or hang on a thin neck, go to the structure around them.

    Where implicit shapes are given, one that is surer of the patch than that of its surroundings keeps it.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY):
        if structure.id not in boxes:
            continue
        bulk, *others = components_of(labels, structure.id, boxes[structure.id])
        patches = [Patch(p, p.voxels / bulk.voxels, rule.surrounded, "severed") for p in others]
        if others:
            patches.append(Patch(bulk, 1.0, rule.surrounded, "the largest piece of several"))
        necks = _on_necks(labels, bulk, rule.neck_mm, context.grid.spacing_mm)
        patches += [Patch(p, p.voxels / bulk.voxels, rule.neck_surrounded, "on a thin neck") for p in necks]
        for patch in patches:
            changes += _moved(labels, context, rule, structure, patch)
    return labels, changes


def _moved(labels: Labels, context: RuleContext, rule: SwapsRule, structure: Structure, patch: Patch) -> list[Change]:
    component = patch.component
    counts = surroundings(labels, component)
    total, own = int(counts.sum()), int(counts[structure.id])
    counts[[structure.id, *context.tube_ids]] = 0
    host = int(counts.argmax())
    if host == BACKGROUND or counts[host] < patch.surrounded * total or own > MAX_OWN * total:
        return []
    home = context.anatomy.by_id(host).name

    def kept(severity: Severity, why: str) -> list[Change]:
        note = f"{patch.how} and inside {home}{why}"
        return [context.change("swaps", structure.name, "kept", component.box, 0, severity, note)]

    # What never borders on its host lies in it by mistake, however large it is.
    if patch.share > rule.max_share and context.anatomy.are_neighbours(structure.name, home):
        return kept("warning", "") if patch.share < 1 else []
    if component.voxels * context.grid.voxel_mm3 >= structure.min_mm3:
        mine, theirs = context.evidence_mm(structure.id, component), context.evidence_mm(host, component)
        if mine is not None and theirs is not None and mine.mean() > theirs.mean() + rule.sure_mm:
            return kept("review", ", but its shape is sure of it")
    labels[component.box][component.mask] = host
    return [context.change("swaps", structure.name, f"moved to {home}", component.box, component.voxels, note=patch.how)]


def _on_necks(labels: Labels, bulk: Component, neck_mm: float, spacing: tuple[float, float, float]) -> list[Component]:
    """Parts of a piece that an opening by half the neck's width cuts off from its largest part."""
    box = expand_box(bulk.box, 1, labels.shape)
    mask = np.ascontiguousarray(bulk.in_box(box))
    # The border of the volume is no surface: the structure goes on there.
    core = mask & (edt.edt(mask, anisotropy=spacing) > neck_mm / 2)
    cores = find_components(core)
    patches = []
    reach = margin_voxels(neck_mm, spacing)
    for part in cores[1:]:
        near = expand_box(part.box, reach, mask.shape)
        seed = part.in_box(near)
        others = core[near] & ~seed
        # What is nearer to this core than to any other, and hangs together with it.
        mine = edt.edt(~seed, anisotropy=spacing)
        theirs = edt.edt(~others, anisotropy=spacing) if others.any() else np.full(seed.shape, np.inf)
        about = mask[near] & (mine <= 0.75 * neck_mm) & (mine < theirs)
        grown = binary_propagation(seed, EVERY_NEIGHBOUR, mask=about)
        patches.append(_tight(grown, nested_box(box, near)))
    return patches


def _tight(mask: np.ndarray, box: Box) -> Component:
    inner = bounding_box(mask)
    assert inner is not None
    return Component(mask[inner], nested_box(box, inner), int(mask.sum()))


def _votes(labels: Labels, speck: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(specks, 256): how many of the 26 neighbours of each that are no specks themselves have each label."""
    votes = np.zeros((len(at), 256), dtype=np.int16)
    rows = np.arange(len(at))
    for step in np.argwhere(np.ones((3, 3, 3))) - 1:
        beside = at + step
        inside = ((beside >= 0) & (beside < labels.shape)).all(axis=1)
        index = tuple(beside[inside].T)
        good = ~speck[index]
        votes[rows[inside][good], labels[index][good]] += 1
    return votes


def _three(box: tuple[slice, ...]) -> Box:
    x, y, z = box
    return x, y, z
