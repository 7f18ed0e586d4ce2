"""Vessels that were cut through: ends that face each other are joined."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import edt
import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from heartmend.anatomy.rule_parameters import CutVesselsRule
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import Box, boxes_by_id, expand_box, join_boxes, nested_box
from heartmend.geometry.components import Component, components_of, label_components
from heartmend.repair.changes import Change
from heartmend.repair.rules.components import touches
from heartmend.repair.rules.context import Result, RuleContext
from heartmend.types import BACKGROUND, FloatArray, Labels, Mask

# How deep an end is looked at: as deep as the vessel's radius, within these limits.
DEPTH_MM = (3.0, 6.0)
# A cross section flatter than this is a vessel's side, not its end.
ROUND = 0.4
# The share of a cross section that faces the other piece, if it is a vessel's end.
OWN_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Bridge:
    """What joins two ends: the voxels between them, in `box`."""

    mask: Mask
    box: Box
    gap_mm: float


def cut_vessels(labels: Labels, context: RuleContext, rule: CutVesselsRule) -> Result:
    """Two pieces of a vessel whose ends face each other are joined by the hull of their ends, through background only.

    Two veins that both grow out of what they must touch are two veins and stay so.
    """
    labels, changes = labels.copy(), []
    boxes = boxes_by_id(labels)
    for structure in context.structures(rule.structures, "vessel", "appendage"):
        if structure.id in boxes:
            changes += _join(labels, context, rule, structure, boxes[structure.id])
    return labels, changes


def _join(labels: Labels, context: RuleContext, rule: CutVesselsRule, structure: Structure, box: Box) -> list[Change]:
    least = structure.min_mm3 / context.grid.voxel_mm3
    found = [p for p in components_of(labels, structure.id, box) if p.voxels >= least]
    trunks = [context.anatomy.by_name(name).id for name in structure.must_touch]
    several = bool(trunks) and structure.components > 1
    rooted = [several and touches(labels, p, trunks, rule.touch_mm, context.grid.spacing_mm) for p in found]
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
        field = context.evidence_mm(structure.id, Component(bridge.mask, bridge.box, int(bridge.mask.sum())))
        against = field is not None and field.mean() < -rule.against_mm
        if not against:
            labels[bridge.box][bridge.mask] = structure.id
        changes.append(
            context.change(
                "cut_vessels",
                structure.name,
                "left apart" if against else "joined",
                bridge.box,
                0 if against else int(bridge.mask.sum()),
                "review",
                f"two ends {gap_mm:.1f} mm apart" + (", but the shape has nothing there" if against else ""),
            )
        )
    return changes


def _bridge(
    labels: Labels, context: RuleContext, rule: CutVesselsRule, structure: Structure, a: Component, b: Component
) -> Bridge | None:
    """The hull between two facing ends; None where the pieces are far apart or do not face each other."""
    spacing = context.grid.spacing_mm
    if _boxes_apart_mm(a.box, b.box, spacing) > rule.max_gap_mm:
        return None
    box = expand_box(join_boxes([a.box, b.box]), 1, labels.shape)
    here, there = (np.ascontiguousarray(p.in_box(box)) for p in (a, b))
    from_a, from_b = (edt.edt(~m, anisotropy=spacing) for m in (here, there))
    gap = float(from_a[there].min())
    if gap > rule.max_gap_mm:
        return None
    ends = [_end(m, d, gap, spacing) for m, d in ((here, from_b), (there, from_a))]
    if min(map(len, ends)) < 4:
        return None
    middles = [end.mean(axis=0) for end in ends]
    length = float(np.linalg.norm(middles[1] - middles[0]))
    along = (middles[1] - middles[0]) / max(length, 1e-9)
    is_one = structure.components == 1 or gap <= rule.close_mm
    are_halves = is_one and min(a.voxels, b.voxels) >= rule.half * max(a.voxels, b.voxels)
    if not are_halves and not _face_each_other((here, there), ends, along, rule.min_section, spacing):
        return None
    inner = expand_box(_box_about(np.concatenate(ends), spacing), 1, here.shape)
    hull = _hull(np.concatenate(ends), inner, spacing)
    axes = np.ogrid[inner]
    t = sum((np.asarray(x) * s - m) * u for x, s, m, u in zip(axes, spacing, middles[0], along, strict=True))
    # Hollow ends are further apart in their middle; what is more than that lies beside the way.
    near = (from_a + from_b)[inner] <= 2 * (gap + max(spacing))
    between = hull & near & (t >= 0) & (t <= length) & ~here[inner] & ~there[inner]
    at = nested_box(box, inner)
    free = between & (labels[at] == BACKGROUND)
    if not free.any() or free.sum() < rule.free * between.sum() or free.sum() > rule.worth * min(a.voxels, b.voxels):
        return None
    whole = free | here[inner] | there[inner]
    parts, _ = label_components(whole)
    if not set(np.unique(parts[here[inner]])) & set(np.unique(parts[there[inner]])):
        return None
    return Bridge(free, at, gap)


def _end(mask: Mask, to_other: npt.NDArray[np.float32], gap_mm: float, spacing_mm: tuple[float, ...]) -> FloatArray:
    """The voxels (n, 3), mm in the box, of the end that faces the other piece: as deep as the vessel is wide."""
    near = mask & (to_other <= gap_mm + DEPTH_MM[1])
    inside = edt.edt(mask, anisotropy=spacing_mm)
    depth = float(np.clip(inside[near].max(), *DEPTH_MM))
    return np.argwhere(mask & (to_other <= gap_mm + depth)) * np.asarray(spacing_mm)


def _section(points_mm: FloatArray, along: FloatArray) -> float:
    """The area of an end as seen along the bridge, mm2; 0 for a shape too flat to be the end of a tube."""
    flat = (points_mm - points_mm.mean(axis=0)) @ np.linalg.svd(along[None])[2][1:].T
    small, large = np.linalg.eigvalsh(np.cov(flat.T))
    if small < ROUND**2 * large or small <= 0:
        return 0.0
    return float(4 * np.pi * np.sqrt(small * large))


def _face_each_other(
    masks: tuple[Mask, Mask], ends: list[FloatArray], along: FloatArray, least: float, spacing_mm: tuple[float, ...]
) -> bool:
    """Whether both are ends of a tube of about one width, and neither is a vessel's side."""
    sections = [_section(end, along) for end in ends]
    if min(sections) <= 0 or min(sections) < least * max(sections):
        return False
    for mask, end, section in zip(masks, ends, sections, strict=True):
        away = np.argwhere(mask) * np.asarray(spacing_mm) - end.mean(axis=0)
        across = (np.abs(away @ along) <= max(spacing_mm)) & ((away**2).sum(axis=1) <= 9 * section / np.pi)
        own = np.abs((end - end.mean(axis=0)) @ along) <= max(spacing_mm)
        if own.sum() < OWN_SHARE * across.sum():
            return False
    return True


def _hull(points_mm: FloatArray, box: Box, spacing_mm: tuple[float, ...]) -> Mask:
    """Which voxels of a box have their centre in the convex hull of the points."""
    try:
        planes = ConvexHull(points_mm).equations
    except QhullError:
        return np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
    x, y, z = (np.asarray(a) * s for a, s in zip(np.ogrid[box], spacing_mm, strict=True))
    inside = np.ones(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=bool)
    for p, q, r, offset in planes:
        inside &= p * x + q * y + r * z + offset <= 1e-6
    return inside


def _box_about(points_mm: FloatArray, spacing_mm: tuple[float, ...]) -> Box:
    index = np.rint(points_mm / spacing_mm).astype(int)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    x, y, z = (slice(int(p), int(q)) for p, q in zip(low, high, strict=True))
    return x, y, z


def _boxes_apart_mm(a: Box, b: Box, spacing_mm: tuple[float, ...]) -> float:
    apart = [max(p.start - q.stop + 1, q.start - p.stop + 1, 0) for p, q in zip(a, b, strict=True)]
    return float(np.linalg.norm(np.multiply(apart, spacing_mm)))
