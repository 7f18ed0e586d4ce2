"""Tube and label become one mask: each counts by how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from scipy.spatial import cKDTree

from heartmend.repair.vessels.bridge import Bridge
from heartmend.repair.vessels.tree import CentreTree, Spacing, voxel_points
from heartmend.repair.vessels.tube import tube_sdf
from heartmend.types import FloatArray, Mask

_QUANTISED = 12**-0.5  # standard deviation, in voxels, of a sound label's surface: it is known to half a voxel
_TUBE_MISFIT = 0.35  # ... and of a vessel's surface about the tube: lumens are not round
_REACH_MM = 3.0
_WANDERS_MM, _WANDERS_VOXELS = 0.45, 0.45  # a bridge's middle is off as vessels bend, and as its ends are known
_THINNEST = 0.4  # of its width, however unsure


def tube_residual_mm(tree: CentreTree, label: Mask, spacing_mm: Spacing) -> float:
    """Robust standard deviation of the label's surface about the tube."""
    faces = []
    for axis in range(3):
        at = np.argwhere(np.diff(label.astype(np.int8), axis=axis) != 0).astype(float)
        at[:, axis] += 0.5
        faces.append(at * spacing_mm)
    distance = tube_sdf(tree, np.concatenate(faces))
    distance = distance[np.abs(distance) < _REACH_MM]  # pieces that were dropped lie farther
    return float(1.4826 * np.median(np.abs(distance - np.median(distance)))) if len(distance) else 0.0


def tube_weight(tube_residual_mm: float, voxel_mm: float) -> float:
    """How much the tube counts, 0 to 1: the label's variance beyond its voxels over that and the tube's own.

    A sound label gives nearly 0 and stays as it came, a ragged one gives way.
    """
    noise = max(tube_residual_mm**2 - (_QUANTISED * voxel_mm) ** 2, 0.0)
    return float(noise / (noise + (_TUBE_MISFIT * voxel_mm) ** 2))


def as_sure(tree: CentreTree, bridges: Sequence[Bridge], voxel_mm: float) -> CentreTree:
    """The tree with its bridges as wide as it is more likely than not that the vessel is there.

    The middle of a bridge is off by a normal deviation in two directions, the more so the more its ends turn. So a
    point at the rim of the tube lies outside the vessel more often than inside, and what a voxel adds it would cost.
    """
    if not bridges:
        return tree
    deviation = np.hypot(_WANDERS_MM, _WANDERS_VOXELS * voxel_mm) * np.array([bridge.turns for bridge in bridges])
    # A normal deviation in two directions puts half of the middles farther away than this.
    half_mm2 = (2 * np.log(2) * deviation**2)[tree.bridge]
    narrow = np.sqrt(np.maximum(tree.radius_mm**2 - half_mm2, (_THINNEST * tree.radius_mm) ** 2))
    return tree.with_radius(np.where(tree.bridge >= 0, narrow, tree.radius_mm))


def painted(tree: CentreTree, label: Mask, spacing_mm: Spacing, excess_mm: float, weight: float) -> Mask:
    """The mask of a mended tree: the label drawn in by `excess_mm` and blended with the tube; bridges are all tube.

    However thin, a vessel does not end before its end: the centreline's voxels always belong to it, or where the
    centreline leaves the label, the label's nearest to them.
    """
    line = _line_voxels(tree, label, spacing_mm)
    reach = float(tree.radius_mm.max()) + max(-excess_mm, 0.0)
    near = label | (edt.edt(~line, anisotropy=spacing_mm) < reach)
    points = voxel_points(near, spacing_mm)
    half = 0.5 * min(spacing_mm)
    inside = edt.edt(label, anisotropy=spacing_mm)[near]
    outside = edt.edt(~label, anisotropy=spacing_mm)[near]
    shell: FloatArray = np.where(label[near], half - inside, outside - half) + excess_mm
    distance = (1 - weight) * shell + weight * tube_sdf(tree, points)
    if (tree.bridge >= 0).any():
        span = tree.bridge >= 0
        span[tree.edges[span[tree.edges].any(axis=1)].ravel()] = True  # and the points where it lands
        distance = np.minimum(distance, tube_sdf(tree.kept(span), points))
    line[near] |= distance < 0
    return line


def _line_voxels(tree: CentreTree, label: Mask, spacing_mm: Spacing) -> Mask:
    """The centreline's voxels; of what is no bridge, only voxels of the label."""
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
