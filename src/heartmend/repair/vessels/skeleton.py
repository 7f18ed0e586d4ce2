"""From a label to its centreline: thinning, loops opened, spurs pruned."""

from __future__ import annotations

import edt
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

from heartmend.geometry.skeletons import extract_skeleton
from heartmend.repair.vessels.tree import NO_BRIDGE, CentreTree, Spacing
from heartmend.types import FloatArray, Mask

_NEIGHBOUR_VOXELS = 1.8  # between the cube's diagonal, 1.73, and two voxels


def trace(mask: Mask, spacing_mm: Spacing) -> CentreTree:
    """The skeleton of a mask (thinning after Lee et al. 1994) as a forest; radius: distance to the background.

    Every 26-connected piece gives at least one point. Loops are opened where the vessel is thinnest: there two
    branches merely touch.
    """
    if not mask.any():
        return CentreTree(np.zeros((0, 3)), np.zeros((0, 2), np.intp), np.zeros(0), np.zeros(0, np.intp))
    skeleton = extract_skeleton(mask)
    index = np.argwhere(skeleton)
    points = index * np.asarray(spacing_mm, float)
    depth = edt.edt(mask, anisotropy=spacing_mm)[skeleton].astype(float)
    a, b = cKDTree(index).query_pairs(_NEIGHBOUR_VOXELS, output_type="ndarray").T
    cost = np.linalg.norm(points[a] - points[b], axis=1) / np.minimum(depth[a], depth[b])
    spanning = minimum_spanning_tree(csr_matrix((cost, (a, b)), shape=(len(points), len(points)))).tocoo()
    edges = np.stack([spanning.row, spanning.col], axis=1).astype(np.intp)
    return CentreTree(points, edges, depth, np.full(len(points), NO_BRIDGE, np.intp))


def pruned(tree: CentreTree, spur_mm: float, radii: float = 2.0) -> tuple[CentreTree, list[FloatArray]]:
    """Take away twigs shorter than `spur_mm` or than `radii` times the radius of the vessel that they hang from.

    At a branching only the shortest goes at a time, so that where a vessel ends in two twigs the longer one lives on as
    its end. Returns the tree and the points of each spur in mm, tip first.
    """
    spurs: list[FloatArray] = []
    while True:
        shortest: dict[int, tuple[float, list[int]]] = {}
        for twig in tree.twigs():
            base = int(twig[-1])
            length = float(np.linalg.norm(np.diff(tree.points_mm[twig], axis=0), axis=1).sum())
            limit = max(spur_mm, radii * float(tree.radius_mm[base]))
            if tree.degree[base] >= 3 and length < min(limit, shortest.get(base, (np.inf, []))[0]):
                shortest[base] = length, twig[:-1].tolist()
        if not shortest:
            return tree, spurs
        keep = np.ones(len(tree), bool)
        for _, twig_points in shortest.values():
            keep[twig_points] = False
            spurs.append(tree.points_mm[twig_points])
        tree = tree.kept(keep)
