"""Blending of a vessel's tube model and its label to one mask, weighted by their variances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing, voxel_points
from heartmend.geometry.centrelines.tube import tube_sdf
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.geometry.masks import grow_mask
from heartmend.repair.vessels.bridge import Bridge
from heartmend.types import FloatArray, Mask

_LABEL_SPREAD_VOXELS = 12**-0.5
"""Standard deviation of the surface of a correct label: its position is uncertain by half a voxel."""
_TUBE_SPREAD_VOXELS = 0.35
"""Standard deviation of a vessel's surface about its tube, because lumens are not round."""
_REACH_MM = 3.0
"""Surface voxels farther from the tube belong to removed components."""
_BRIDGE_SPREAD_MM, _BRIDGE_SPREAD_VOXELS = 0.45, 0.45
"""Standard deviation of the centre of a straight bridge: vessels bend, and the ends are known to a share of a voxel."""
_MIN_BRIDGE_WIDTH = 0.4
"""Smallest radius of a bridge as a share of the vessel's radius."""


def tube_residual_mm(tree: CentreTree, label: Mask, spacing_mm: Spacing) -> float:
    """Compute the robust standard deviation of a label's surface about its tube.

    Args:
        tree: centreline and radius.
        label: (x, y, z) bool.
        spacing_mm: voxel spacing.

    Returns:
        The standard deviation in mm; 0 if no surface is near the tube.
    """
    faces = []
    for axis in range(3):
        at = np.argwhere(np.diff(label.astype(np.int8), axis=axis) != 0).astype(float)
        at[:, axis] += 0.5
        faces.append(at * spacing_mm)
    distance = tube_sdf(tree, np.concatenate(faces))
    distance = distance[np.abs(distance) < _REACH_MM]
    return float(1.4826 * np.median(np.abs(distance - np.median(distance)))) if len(distance) else 0.0


def tube_weight(residual_mm: float, voxel_mm: float) -> float:
    """Compute the weight of the tube: the label's noise variance over the sum of that and the tube's variance.

    Args:
        residual_mm: standard deviation of the label's surface about the tube.
        voxel_mm: side of a voxel.

    Returns:
        0 to 1: nearly 0 for a smooth label, which then hardly changes, and high for a rough one.

    Example:
        >>> tube_weight(0.2, voxel_mm=1.0), round(tube_weight(1.0, voxel_mm=1.0), 2)
        (0.0, 0.88)
    """
    noise = max(residual_mm**2 - (_LABEL_SPREAD_VOXELS * voxel_mm) ** 2, 0.0)
    return float(noise / (noise + (_TUBE_SPREAD_VOXELS * voxel_mm) ** 2))


def narrow_bridges(tree: CentreTree, bridges: Sequence[Bridge], voxel_mm: float) -> CentreTree:
    """Narrow the bridges of a tree to the points that are more likely inside the vessel than outside.

    The centre of a bridge deviates normally in two directions, the more so the higher its cost. A point at the rim of
    the tube is therefore outside the vessel more often than inside.

    Args:
        tree: the forest with bridges.
        bridges: the bridges that `tree.bridge` refers to.
        voxel_mm: side of a voxel.

    Returns:
        The forest with smaller radii at its bridges.
    """
    if not bridges:
        return tree
    spread_mm = np.hypot(_BRIDGE_SPREAD_MM, _BRIDGE_SPREAD_VOXELS * voxel_mm)
    deviation = spread_mm * np.array([bridge.cost_ratio for bridge in bridges])
    # Half of the centres deviate by more than this, for a normal distribution in two directions.
    half_mm2 = (2 * np.log(2) * deviation**2)[tree.bridge]
    narrow = np.sqrt(np.maximum(tree.radius_mm**2 - half_mm2, (_MIN_BRIDGE_WIDTH * tree.radius_mm) ** 2))
    return tree.with_radius(np.where(tree.bridge >= 0, narrow, tree.radius_mm))


def blend_tube_and_label(tree: CentreTree, label: Mask, spacing_mm: Spacing, excess_mm: float, weight: float) -> Mask:
    """Compute the mask of a repaired tree.

    The label is narrowed by `excess_mm` and its signed distance is averaged with that of the tube. Bridges are tube
    only. The voxels of the centreline always belong to the vessel, so that a thin vessel is not interrupted; where the
    centreline leaves the label, the nearest voxels of the label do.

    Args:
        tree: centreline and radius.
        label: (x, y, z) bool.
        spacing_mm: voxel spacing.
        excess_mm: radius that is removed from the label; negative to widen it.
        weight: weight of the tube, 0 to 1.

    Returns:
        (x, y, z) bool.
    """
    mask = _centreline_voxels(tree, label, spacing_mm)
    reach = float(tree.radius_mm.max()) + max(-excess_mm, 0.0)
    near = label | grow_mask(mask, reach, spacing_mm)
    points = voxel_points(near, spacing_mm)
    half = 0.5 * min(spacing_mm)
    apart = distance_to_other_label_mm(label, spacing_mm)[near] - half
    label_mm: FloatArray = np.where(label[near], -apart, apart) + excess_mm
    distance = (1 - weight) * label_mm + weight * tube_sdf(tree, points)
    if (tree.bridge >= 0).any():
        span = tree.bridge >= 0
        span[tree.edges[span[tree.edges].any(axis=1)].ravel()] = True  # with the points that a bridge connects
        distance = np.minimum(distance, tube_sdf(tree.subset(span), points))
    mask[near] |= distance < 0
    return mask


def draw_bridges(tree: CentreTree, shape: tuple[int, ...], spacing_mm: Spacing) -> Mask:
    """Draw the bridges of a tree, with the points that they connect.

    Args:
        tree: centreline and radius.
        shape: (x, y, z) of the mask.
        spacing_mm: voxel spacing.

    Returns:
        (x, y, z) bool.
    """
    mask = np.zeros(shape, bool)
    spans = tree.edges[(tree.bridge[tree.edges] >= 0).any(axis=1)]
    if not len(spans):
        return mask
    bridges = tree.bridge >= 0
    bridges[spans.ravel()] = True
    line = _line_voxels(tree, spans, shape, spacing_mm)
    mask[tuple(line.T)] = True
    near = grow_mask(mask, float(tree.radius_mm[bridges].max()) + max(spacing_mm), spacing_mm)
    mask[near] |= tube_sdf(tree.subset(bridges), voxel_points(near, spacing_mm)) < 0
    return mask


def _line_voxels(tree: CentreTree, edges: IntArray, shape: tuple[int, ...], spacing_mm: Spacing) -> IntArray:
    """Indices (k, 3) of the voxels on edges of a tree."""
    steps = max(int(np.ceil(tree.edge_mm.max(initial=0.0) / (0.5 * min(spacing_mm)))), 1)
    a, b = tree.points_mm[edges.T]
    along = np.concatenate([a + t * (b - a) for t in np.linspace(0, 1, steps + 1)])
    index = np.round(along / spacing_mm).astype(np.intp)
    return index[((index >= 0) & (index < shape)).all(axis=1)]


def _centreline_voxels(tree: CentreTree, label: Mask, spacing_mm: Spacing) -> Mask:
    """Voxels of the centreline; outside bridges the nearest voxels of the label."""
    steps = max(int(np.ceil(tree.edge_mm.max(initial=0.0) / (0.5 * min(spacing_mm)))), 1)
    a, b = tree.points_mm[tree.edges.T]
    spans = (tree.bridge[tree.edges] >= 0).any(axis=1)
    along = np.stack([a + t * (b - a) for t in np.linspace(0, 1, steps + 1)])
    own = np.concatenate([tree.points_mm[tree.bridge < 0], along[:, ~spans].reshape(-1, 3)])
    voxels = np.argwhere(label)
    snapped = voxels[cKDTree(voxels * np.asarray(spacing_mm)).query(own)[1]] if len(voxels) else voxels
    index = np.concatenate([snapped, np.round(along[:, spans].reshape(-1, 3) / spacing_mm).astype(int)])
    index = index[((index >= 0) & (index < label.shape)).all(axis=1)]
    line = np.zeros(label.shape, bool)
    line[tuple(index.T)] = True
    return line
