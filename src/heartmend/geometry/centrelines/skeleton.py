"""Centreline of a vessel label: thinning, opening of loops, pruning of spurs."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.centrelines.tree import NO_BRIDGE, CentreTree, IntArray, Spacing
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.skeletons import extract_skeleton
from heartmend.types import Mask

_NEIGHBOUR_VOXELS = 1.8
"""Largest distance of neighbouring voxels: between the diagonal of a cube, 1.73, and two voxels."""


def trace_centreline(mask: Mask, spacing_mm: Spacing) -> CentreTree:
    """Extract the skeleton of a vessel label as a forest.

    The label is thinned (Lee et al., CVGIP 1994). Loops are opened where the vessel is thinnest, because there two
    branches merely touch.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.

    Returns:
        The forest, with at least one point for every 26-connected component; its radii are distances to the background.
    """
    box = bounding_box(mask)
    if box is None:
        return CentreTree(np.zeros((0, 3)), np.zeros((0, 2), np.intp), np.zeros(0), np.zeros(0, np.intp))
    part = np.ascontiguousarray(mask[box])
    skeleton = extract_skeleton(part)
    index = np.argwhere(skeleton) + [side.start for side in box]
    points = index * np.asarray(spacing_mm, float)
    depth = distance_transform_mm(part, spacing_mm, closed=True)[skeleton].astype(float)
    a, b = cKDTree(index).query_pairs(_NEIGHBOUR_VOXELS, output_type="ndarray").T
    cost = np.linalg.norm(points[a] - points[b], axis=1) / np.minimum(depth[a], depth[b])
    spanning = minimum_spanning_tree(csr_matrix((cost, (a, b)), shape=(len(points), len(points)))).tocoo()
    edges = np.stack([spanning.row, spanning.col], axis=1).astype(np.intp)
    return CentreTree(points, edges, depth, np.full(len(points), NO_BRIDGE, np.intp))


def prune_spurs(tree: CentreTree, spur_mm: float, radii: float = 2.0) -> CentreTree:
    """Remove spurs, which are short twigs.

    At a branching only the shortest twig is removed at a time. So where a vessel ends in two twigs, the longer one
    remains as its end.

    Args:
        tree: the forest.
        spur_mm: shorter twigs are spurs.
        radii: so are twigs shorter than this multiple of the radius at their branching.

    Returns:
        The pruned forest.
    """
    while True:
        shortest: dict[int, tuple[float, IntArray]] = {}
        for twig in tree.twigs():
            branching = int(twig[-1])
            length = float(np.linalg.norm(np.diff(tree.points_mm[twig], axis=0), axis=1).sum())
            limit = max(spur_mm, radii * float(tree.radius_mm[branching]))
            if tree.degree[branching] >= 3 and length < min(limit, shortest.get(branching, (np.inf,))[0]):
                shortest[branching] = length, twig[:-1]
        if not shortest:
            return tree
        remaining = np.ones(len(tree), bool)
        for _, twig_points in shortest.values():
            remaining[twig_points] = False
        tree = tree.subset(remaining)
