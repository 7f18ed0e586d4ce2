"""Rule `cut_vessels`: two components of an interrupted vessel are joined where their ends face each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from heartmend.anatomy.rule_parameters import CutVesselsRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import Box, boxes_by_id, expand_box, join_boxes, nested_box
from heartmend.geometry.components import Component, components_of, label_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.repair.changes import Change
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.repair.rules.neighbours import touches
from heartmend.types import BACKGROUND, FloatArray, Labels, Mask

END_DEPTH_MM = (3.0, 6.0)
"""Limits of the depth of a vessel's end, which otherwise is the vessel's radius."""
MIN_ASPECT = 0.4
"""Smallest ratio of the axes of an end's cross-section; a flatter one is the side of a vessel."""
MIN_END_SHARE = 0.6
"""Smallest share of the vessel's cross-section that faces the other component at an end."""


@dataclass(frozen=True, eq=False)
class BreakBridge:
    """Voxels that join two ends of a vessel.

    Attributes:
        mask: bool, the voxels within `box`.
        box: box in the volume.
        gap_mm: distance between the two components.
    """

    mask: Mask
    box: Box
    gap_mm: float


def cut_vessels(labels: Labels, context: RuleContext, rule: CutVesselsRule) -> Result:
    """Join the components of a vessel whose ends face each other.

    The bridge is the convex hull of the two ends, as far as it is background. Two components that both touch the
    structure that the vessel originates from, such as two pulmonary veins, are not joined.

    Args:
        labels: (x, y, z) uint8; it is not changed.
        context: grid, anatomy and evidence; a fitted shape that is far from a bridge prevents it.
        rule: parameters.

    Returns:
        The label map with bridges, and the changes.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, "vessel", "appendage"):
        if structure.id in boxes:
            changes += _join(labels, context, rule, structure, boxes[structure.id])
    return labels, changes


def _join(labels: Labels, context: RuleContext, rule: CutVesselsRule, structure: Structure, box: Box) -> list[Change]:
    """Join the components of one structure in place, the smallest gaps first."""
    min_voxels = structure.min_mm3 / context.grid.voxel_mm3
    found = [c for c in components_of(labels, structure.id, box) if c.voxels >= min_voxels]
    origins = [context.anatomy.by_name(name).id for name in structure.must_touch]
    several = bool(origins) and structure.components > 1
    rooted = [several and touches(labels, c, origins, rule.touch_mm, context.grid.spacing_mm) for c in found]
    joined, changes = nx.Graph(), []
    bridges = []
    for i, j in combinations(range(len(found)), 2):
        if not (rooted[i] and rooted[j]) and (bridge := _bridge(labels, context, rule, structure, found[i], found[j])):
            bridges.append((bridge.gap_mm, i, j, bridge))
    joined.add_nodes_from(range(len(found)))
    for gap_mm, i, j, bridge in sorted(bridges, key=lambda b: b[:3]):
        if nx.has_path(joined, i, j):
            continue
        joined.add_edge(i, j)
        voxels = int(bridge.mask.sum())
        distances = context.evidence_mm(structure.id, Component(bridge.mask, bridge.box, voxels))
        note, action = f"gap of {gap_mm:.1f} mm", "joined"
        if distances is not None and distances.mean() < -rule.against_mm:
            voxels, action = 0, "not joined"
            note += ", the fitted shape does not cross it"
        else:
            labels[bridge.box][bridge.mask] = structure.id
        changes.append(context.change("cut_vessels", structure.name, action, bridge.box, voxels, "review", note))
    return changes


def _bridge(
    labels: Labels, context: RuleContext, rule: CutVesselsRule, structure: Structure, a: Component, b: Component
) -> BreakBridge | None:
    """Convex hull between two facing ends; None where the components are far apart or do not face each other."""
    spacing = context.grid.spacing_mm
    if _gap_of_boxes_mm(a.box, b.box, spacing) > rule.max_gap_mm:
        return None
    box = expand_box(join_boxes([a.box, b.box]), 1, labels.shape)
    masks = tuple(np.ascontiguousarray(c.in_box(box)) for c in (a, b))
    to_a, to_b = (distance_transform_mm(~m, spacing) for m in masks)
    gap = float(to_a[masks[1]].min())
    if gap > rule.max_gap_mm:
        return None
    ends = [_end(m, d, gap, spacing) for m, d in zip(masks, (to_b, to_a), strict=True)]
    if min(map(len, ends)) < 4:
        return None
    centres = [end.mean(axis=0) for end in ends]
    length = float(np.linalg.norm(centres[1] - centres[0]))
    direction = (centres[1] - centres[0]) / max(length, 1e-9)
    is_one = structure.components == 1 or gap <= rule.close_mm
    are_halves = is_one and min(a.voxels, b.voxels) >= rule.half * max(a.voxels, b.voxels)
    if not are_halves and not _face_each_other(masks, ends, direction, rule.min_section, spacing):
        return None
    inner = expand_box(_box_of_points(np.concatenate(ends), spacing), 1, masks[0].shape)
    mask_a, mask_b = (m[inner] for m in masks)
    hull = _hull(np.concatenate(ends), inner, spacing)
    axes = np.ogrid[inner]
    t = sum((np.asarray(x) * s - m) * u for x, s, m, u in zip(axes, spacing, centres[0], direction, strict=True))
    # Hollow ends are farther apart in their middle; voxels beyond that are beside the gap.
    near = (to_a + to_b)[inner] <= 2 * (gap + max(spacing))
    between = hull & near & (t >= 0) & (t <= length) & ~mask_a & ~mask_b
    bridge_box = nested_box(box, inner)
    free = between & (labels[bridge_box] == BACKGROUND)
    if not free.any() or free.sum() < rule.free * between.sum() or free.sum() > rule.worth * min(a.voxels, b.voxels):
        return None
    numbers, _ = label_components(free | mask_a | mask_b)
    if not set(np.unique(numbers[mask_a])) & set(np.unique(numbers[mask_b])):
        return None
    return BreakBridge(free, bridge_box, gap)


def _end(mask: Mask, to_other: npt.NDArray[np.float32], gap_mm: float, spacing_mm: tuple[float, ...]) -> FloatArray:
    """Voxels (n, 3), in mm in the box, of the end that faces the other component, as deep as the vessel's radius."""
    near = mask & (to_other <= gap_mm + END_DEPTH_MM[1])
    inside = distance_transform_mm(mask, spacing_mm)
    depth = float(np.clip(inside[near].max(), *END_DEPTH_MM))
    return np.argwhere(mask & (to_other <= gap_mm + depth)) * np.asarray(spacing_mm)


def _section_mm2(points_mm: FloatArray, direction: FloatArray) -> float:
    """Area of an end across the bridge; 0 for a shape too flat to be the end of a tube."""
    flat = (points_mm - points_mm.mean(axis=0)) @ np.linalg.svd(direction[None])[2][1:].T
    small, large = np.linalg.eigvalsh(np.cov(flat.T))
    if small < MIN_ASPECT**2 * large or small <= 0:
        return 0.0
    return float(4 * np.pi * np.sqrt(small * large))


def _face_each_other(
    masks: tuple[Mask, ...],
    ends: list[FloatArray],
    direction: FloatArray,
    min_ratio: float,
    spacing_mm: tuple[float, ...],
) -> bool:
    """Whether both are ends of a tube of about the same width, and neither is the side of a vessel."""
    sections = [_section_mm2(end, direction) for end in ends]
    if min(sections) <= 0 or min(sections) < min_ratio * max(sections):
        return False
    for mask, end, section in zip(masks, ends, sections, strict=True):
        offset = np.argwhere(mask) * np.asarray(spacing_mm) - end.mean(axis=0)
        across = (np.abs(offset @ direction) <= max(spacing_mm)) & ((offset**2).sum(axis=1) <= 9 * section / np.pi)
        facing = np.abs((end - end.mean(axis=0)) @ direction) <= max(spacing_mm)
        if facing.sum() < MIN_END_SHARE * across.sum():
            return False
    return True


def _hull(points_mm: FloatArray, box: Box, spacing_mm: tuple[float, ...]) -> Mask:
    """Voxels of a box whose centres lie in the convex hull of the points."""
    try:
        planes = ConvexHull(points_mm).equations
    except QhullError:
        return np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
    x, y, z = (np.asarray(a) * s for a, s in zip(np.ogrid[box], spacing_mm, strict=True))
    inside = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=bool)
    for p, q, r, offset in planes:
        inside &= p * x + q * y + r * z + offset <= 1e-6
    return inside


def _box_of_points(points_mm: FloatArray, spacing_mm: tuple[float, ...]) -> Box:
    index = np.rint(points_mm / spacing_mm).astype(int)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    x, y, z = (slice(int(p), int(q)) for p, q in zip(low, high, strict=True))
    return x, y, z


def _gap_of_boxes_mm(a: Box, b: Box, spacing_mm: tuple[float, ...]) -> float:
    """Smallest distance between the centres of a voxel in one box and a voxel in the other."""
    steps = [max(p.start - q.stop + 1, q.start - p.stop + 1, 0) for p, q in zip(a, b, strict=True)]
    return float(np.linalg.norm(np.multiply(steps, spacing_mm)))
