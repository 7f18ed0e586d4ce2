"""Rules `speckle` and `swaps`: voxels and patches with the label of another structure are relabelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_propagation

from heartmend.anatomy.rule_parameters import SpeckleRule, SwapsRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import Box, bounding_box, boxes_by_id, expand_box, margin_voxels, nested_box
from heartmend.geometry.components import Component, components_of, find_components, in_small_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.masks import mask_of_ids, shrink_mask
from heartmend.repair.changes import ORIGINAL_KEPT, Change, Severity
from heartmend.repair.rules.context import BULKY_KINDS, Result, RuleContext
from heartmend.repair.rules.neighbours import ALL_NEIGHBOURS, count_neighbours
from heartmend.types import BACKGROUND, Labels, Mask

MAX_OWN_SHARE = 0.2
"""Largest share of a patch's neighbouring voxels that may belong to its own structure: the neck of the patch."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Part of a structure that may belong to another structure.

    Attributes:
        component: its voxels.
        share: its volume as a share of the structure's largest component.
        min_surrounded: share of its neighbouring voxels that another structure must have to get it.
        description: what the patch is, for the notes of changes.
    """

    component: Component
    share: float
    min_surrounded: float
    description: str


def speckle(labels: Labels, context: RuleContext, rule: SpeckleRule) -> Result:
    """Relabel specks, which are components of at most `max_voxels`, by the majority of their neighbours.

    Background specks are filled too, unless they are part of a gap between two structures. Specks are components by
    faces; those of thin vessels, which may run diagonally, are components by faces, edges and corners.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid and anatomy.
        rule: parameters.

    Returns:
        The label map without specks, and the changes.
    """
    tubes = mask_of_ids(labels, context.tube_ids)
    speck = in_small_components(labels, rule.max_voxels) & ~tubes
    for component in find_components(tubes):
        if component.voxels <= rule.max_voxels:
            speck[component.box] |= component.mask
    if rule.structures:
        speck &= mask_of_ids(labels, [context.anatomy.by_name(n).id for n in rule.structures])
    voxels = np.argwhere(speck)
    if not len(voxels):
        return labels, []
    votes = _votes(labels, speck, voxels)
    original = labels[speck]
    votes[np.ix_(original == BACKGROUND, list(context.tube_ids))] = 0
    # A background speck whose neighbours have no clear majority is part of a gap between two structures.
    required = np.where(original == BACKGROUND, rule.clear_share, 0) * votes.sum(axis=1)
    has_majority = votes.max(axis=1) >= required
    winner = np.where(has_majority & votes.any(axis=1), votes.argmax(axis=1), original).astype(np.uint8)
    labels = labels.copy()
    labels[speck] = winner
    changes = []
    for id in np.unique(original[original != winner]):
        moved = voxels[(original == id) & (original != winner)]
        x, y, z = (slice(int(a), int(b) + 1) for a, b in zip(moved.min(axis=0), moved.max(axis=0), strict=True))
        name = context.anatomy.by_id(int(id)).name if id else "background"
        changes.append(context.change("speckle", name, "moved to neighbours", (x, y, z), len(moved)))
    return labels, changes


def swaps(labels: Labels, context: RuleContext, rule: SwapsRule) -> Result:
    """Relabel patches that lie inside another structure.

    A patch is a component apart from its structure, or a part that is attached by a thin neck. A patch stays if the
    fitted shape of its own structure contains it more deeply than that of the surrounding one.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid, anatomy and evidence.
        rule: parameters.

    Returns:
        The label map with relabelled patches, and the changes.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, *BULKY_KINDS):
        if structure.id not in boxes:
            continue
        main, *others = components_of(labels, structure.id, boxes[structure.id])
        patches = [Patch(c, c.voxels / main.voxels, rule.surrounded, "separate component") for c in others]
        if others:
            patches.append(Patch(main, 1.0, rule.surrounded, "largest of several components"))
        necks = _parts_on_necks(labels, main, rule.neck_mm, context.grid.spacing_mm)
        patches += [Patch(c, c.voxels / main.voxels, rule.neck_surrounded, "part on a thin neck") for c in necks]
        for patch in patches:
            changes += _relabelled(labels, context, rule, structure, patch)
    return labels, changes


def _relabelled(
    labels: Labels, context: RuleContext, rule: SwapsRule, structure: Structure, patch: Patch
) -> list[Change]:
    """Relabel a patch in place, if it belongs to the structure around it."""
    component = patch.component
    counts = count_neighbours(labels, component)
    total, own = int(counts.sum()), int(counts[structure.id])
    counts[[structure.id, *context.tube_ids]] = 0
    host = int(counts.argmax())
    if host == BACKGROUND or counts[host] < patch.min_surrounded * total or own > MAX_OWN_SHARE * total:
        return []
    host_name = context.anatomy.by_id(host).name

    def unchanged(severity: Severity, reason: str) -> list[Change]:
        note = f"{patch.description} inside {host_name}{reason}"
        return [context.change("swaps", structure.name, ORIGINAL_KEPT, component.box, 0, severity, note)]

    # A patch in a structure that it never borders on is wrong, however large it is.
    if patch.share > rule.max_share and context.anatomy.are_neighbours(structure.name, host_name):
        return unchanged("warning", "") if patch.share < 1 else []
    if component.voxels * context.grid.voxel_mm3 >= structure.min_mm3:
        own_mm, host_mm = context.evidence_mm(structure.id, component), context.evidence_mm(host, component)
        if own_mm is not None and host_mm is not None and own_mm.mean() > host_mm.mean() + rule.sure_mm:
            return unchanged("review", "; it lies deeper in its own fitted shape")
    labels[component.box][component.mask] = host
    action, note = f"moved to {host_name}", patch.description
    return [context.change("swaps", structure.name, action, component.box, component.voxels, note=note)]


def _parts_on_necks(
    labels: Labels, main: Component, neck_mm: float, spacing: tuple[float, float, float]
) -> list[Component]:
    """Parts of a component that an opening by half the neck's width separates from its largest part."""
    box = expand_box(main.box, 1, labels.shape)
    mask = main.in_box(box)
    # The border of the volume is no surface, because the structure continues there.
    eroded = shrink_mask(mask, neck_mm / 2, spacing)
    cores = find_components(eroded)
    parts = []
    reach = margin_voxels(neck_mm, spacing)
    for core in cores[1:]:
        near = expand_box(core.box, reach, mask.shape)
        seed = core.in_box(near)
        other_cores = eroded[near] & ~seed
        # The part: voxels connected to this core that are nearer to it than to any other.
        to_core = distance_transform_mm(~seed, spacing)
        to_others = distance_transform_mm(~other_cores, spacing) if other_cores.any() else np.full(seed.shape, np.inf)
        candidates = mask[near] & (to_core <= 0.75 * neck_mm) & (to_core < to_others)
        part = binary_propagation(seed, ALL_NEIGHBOURS, mask=candidates)
        parts.append(_cropped(part, nested_box(box, near)))
    return parts


def _cropped(mask: Mask, box: Box) -> Component:
    """The component of a mask that is given in `box`."""
    inner = bounding_box(mask)
    assert inner is not None
    return Component(mask[inner], nested_box(box, inner), int(mask.sum()))


def _votes(labels: Labels, speck: Mask, voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.int16]:
    """(specks, 256): number of the 26 neighbours with each label, neighbours that are specks themselves excluded."""
    votes = np.zeros((len(voxels), 256), dtype=np.int16)
    rows = np.arange(len(voxels))
    for step in np.argwhere(np.ones((3, 3, 3))) - 1:
        neighbours = voxels + step
        inside = ((neighbours >= 0) & (neighbours < labels.shape)).all(axis=1)
        index = tuple(neighbours[inside].T)
        counted = ~speck[index]
        votes[rows[inside][counted], labels[index][counted]] += 1
    return votes
