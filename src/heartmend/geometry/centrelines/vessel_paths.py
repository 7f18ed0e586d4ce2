"""Paths along the centrelines of thin vessels, each from the origin of its tree to a tip."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from heartmend.geometry.centrelines.measurement import CentrelineSettings
from heartmend.geometry.centrelines.skeleton import prune_spurs, trace_centreline
from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.geometry.curves import FramedCurve, frame_curve
from heartmend.geometry.grid import Grid
from heartmend.types import FloatArray, Mask

SHORTEST_MM = 15.0
"""Shorter paths, and paths with a shorter part of their own, are not shown: they are those of side branches."""
MOST_PATHS = 16
STEP_MM, SMOOTH_MM = 0.5, 1.5
"""Sampling of a path, and the smoothing that removes the steps of the voxels."""


def find_vessel_paths(mask: Mask, grid: Grid, origin: Mask) -> list[FramedCurve]:
    """Find the paths of a vessel tree from its origin to its tips.

    Args:
        mask: (x, y, z) bool, the vessels.
        grid: where the voxels are.
        origin: (x, y, z) bool, the structure that the vessels arise from; where it is empty, a tree begins at its
            thickest end.

    Returns:
        The paths, the longest first. Paths that share their beginning are one each, as they are displayed.
    """
    tree = prune_spurs(trace_centreline(mask, grid.spacing_mm), CentrelineSettings().spur_mm)
    index = tree.points_mm / np.asarray(grid.spacing_mm)
    points_mm = grid.index_to_world(index) if len(index) else index
    to_origin = _distance_to(origin, grid, index)
    found: list[tuple[float, IntArray]] = []
    for component in np.flatnonzero(tree.component_mm >= SHORTEST_MM) if len(tree) else ():
        ends = tree.ends[tree.component[tree.ends] == component]
        root = ends[np.argmin(to_origin[ends]) if to_origin.size else np.argmax(tree.radius_mm[ends])]
        found += _paths_from(tree, int(root))
    found.sort(key=lambda path: -path[0])
    return [frame_curve(points_mm[path], STEP_MM, SMOOTH_MM) for _, path in found[:MOST_PATHS]]


def _paths_from(tree: CentreTree, root: int) -> list[tuple[float, IntArray]]:
    """Length and points of each path from the root to another end that has a long enough part of its own."""
    taken = np.zeros(len(tree), bool)
    taken[root] = True
    found = []
    for path in sorted(tree.paths_from(root), key=lambda path: -_lengths(tree, path)[-1]):
        length = _lengths(tree, path)
        own = length[-1] - length[np.flatnonzero(taken[path])[-1]]
        if own >= SHORTEST_MM:
            found.append((float(length[-1]), path))
            taken[path] = True
    return found


def _lengths(tree: CentreTree, path: IntArray) -> FloatArray:
    """Distance of each point of a path from its beginning along it."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(tree.points_mm[path], axis=0), axis=1))])


def _distance_to(origin: Mask, grid: Grid, index: FloatArray) -> FloatArray:
    """Distance in mm of points, in voxels, to a mask; of length 0 where it is empty."""
    if not origin.any() or not len(index):
        return np.zeros(0)
    distance: FloatArray = distance_transform_edt(~origin, sampling=grid.spacing_mm)
    return distance[tuple(np.rint(index).astype(int).T)]
