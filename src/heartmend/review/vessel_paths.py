"""Paths along the centrelines of thin vessels, each from the origin of its tree to a tip."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse.csgraph import dijkstra

from heartmend.geometry.curves import FramedCurve, frame_curve
from heartmend.geometry.grid import Grid
from heartmend.repair.vessels.settings import TreeSettings
from heartmend.repair.vessels.skeleton import prune_spurs, trace_centreline
from heartmend.repair.vessels.tree import CentreTree, IntArray
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
    tree = prune_spurs(trace_centreline(mask, grid.spacing_mm), TreeSettings().spur_mm)
    index = tree.points_mm / np.asarray(grid.spacing_mm)
    points_mm = grid.index_to_world(index) if len(index) else index
    to_origin = _distance_to(origin, grid, index)
    found: list[tuple[float, IntArray]] = []
    for component in np.flatnonzero(tree.component_mm >= SHORTEST_MM) if len(tree) else ():
        ends = tree.ends[tree.component[tree.ends] == component]
        root = ends[np.argmin(to_origin[ends]) if to_origin.size else np.argmax(tree.radius_mm[ends])]
        found += _paths_from(tree, int(root), ends)
    found.sort(key=lambda path: -path[0])
    return [frame_curve(points_mm[path], STEP_MM, SMOOTH_MM) for _, path in found[:MOST_PATHS]]


def _paths_from(tree: CentreTree, root: int, ends: IntArray) -> list[tuple[float, IntArray]]:
    """Length and points of each path from the root to another end that has a long enough part of its own."""
    length, before = dijkstra(tree.matrix, directed=False, indices=root, return_predecessors=True)
    taken = np.zeros(len(tree), bool)
    taken[root] = True
    found = []
    for tip in sorted((int(end) for end in ends if end != root), key=lambda end: -length[end]):
        path = [tip]
        while path[-1] != root:
            path.append(int(before[path[-1]]))
        junction = next(point for point in path if taken[point])
        if length[tip] - length[junction] >= SHORTEST_MM:
            found.append((float(length[tip]), np.array(path[::-1], np.intp)))
            taken[path] = True
    return found


def _distance_to(origin: Mask, grid: Grid, index: FloatArray) -> FloatArray:
    """Distance in mm of points, in voxels, to a mask; of length 0 where it is empty."""
    if not origin.any() or not len(index):
        return np.zeros(0)
    distance: FloatArray = distance_transform_edt(~origin, sampling=grid.spacing_mm)
    return distance[tuple(np.rint(index).astype(int).T)]
